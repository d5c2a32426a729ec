"""`enactorctl --url` against a live enactor: the same documents, refusals and exit codes as with the config."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from enactord.cli.ctl import VERBS
from enactord.cli.ctl import main as ctl
from tests.deploy.desk import Desk
from tests.deploy.process import service
from tests.http.laptop import Laptop
from tests.servers.embedded import Embedded
from tests.world import ZONE, fleet, plan

NAME = f"n00001.{ZONE}"

SAME = {
    "status": (["status"],),
    "plans": (["plans"],),
    "show": (["show", "1"], ["show", "2", "--full"], ["show", "99"]),
    "endpoints": (
        ["endpoints"],
        ["endpoints", NAME, f"n00002.{ZONE}"],
        ["endpoints", "--state", "held"],
        ["endpoints", "--state", "applied", "--zone", ZONE],
        ["endpoints", f"nowhere.{ZONE}"],
    ),
    "history": (["history", NAME], ["history", f"nowhere.{ZONE}"]),
    "diff": (["diff", "1"], ["diff", "1", "2"], ["diff", "2", "1"], ["diff", "2", "99"]),
    "audit": (["audit"], ["audit", "--limit", "1"], ["audit", "--since", "1d"]),
    "limits": (["limits"], ["limits", "set", "targets_min", "many", "--reason", "x"]),
    "planner": (["planner", "resume"],),
    "planners": (["planners"],),
    "refused": (["refused"],),
    "override": (["override", "list"], ["override", "end", "0a1b2c"]),
    "prune": (["prune", "--dry-run"],),
    "verify": (["verify"],),
    "adopt": (["adopt", NAME], ["adopt", "elsewhere.invalid"]),
    "thaw": (["thaw"],),
}
"""What is asked by the config and over HTTP, and must come to the same document."""

ORDERED = {"freeze", "planner", "watch", "publish", "rollback"}
"""Verbs that change something with each call, or tell what is new: they have tests of their own."""

ON_SITE = {
    "backup": ["backup", "file"],
    "doctor": ["doctor"],
    "emergency": ["emergency", "seal", ZONE, "--reason", "x"],
    "fence": ["fence", "lower", ZONE, "--reason", "x"],
    "restore": ["restore", "file"],
    "token": ["token", "list"],
    "zone": ["zone", "retire", ZONE, "--reason", "x"],
}
"""Verbs that need the config."""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A live enactor of a scope with two plans, a name that is held, and some history."""
    with Embedded([ZONE]) as server:
        desk = Desk(tmp_path, server)
        desk.tokens("alice")
        await desk.publish(plan(fleet(40, 1)))
        async with service(desk.config) as enactor:
            await enactor.until(lambda: enactor.event("plan.applied"))
            await desk.publish(plan(fleet(39) | fleet(5, 2) | {f"empty.{ZONE}": []}))
            await enactor.until(lambda: enactor.event("plan.applied", 2))
            await desk.ctl("freeze", "--reason", "a drill")
            await desk.ctl("thaw", "--reason", "it is over")
            yield desk


def test_every_verb_is_known_here() -> None:
    """A new verb says whether it works from a laptop, and has its test."""
    assert {*SAME, *ORDERED, *ON_SITE, "completion"} == set(VERBS)


async def test_every_verb_shows_the_same_from_a_laptop(desk: Desk, tmp_path: Path) -> None:
    """Exit code and document, verb by verb; refusals too. What an enactor shows may be a moment old."""
    laptop = Laptop(f"http://127.0.0.1:{desk.http}", tmp_path)
    for words in (words for asked in SAME.values() for words in asked):
        for _ in range(50):
            on_site = ["--config", str(desk.config), *words, "--json"]
            here = await asyncio.to_thread(CliRunner().invoke, ctl, on_site)
            away = await laptop.run(*words, "--json")
            if (here.exit_code, here.stdout) == (away.exit_code, away.stdout):
                break
            await asyncio.sleep(0.2)
        assert (json.loads(away.stdout), away.exit_code) == (json.loads(here.stdout), here.exit_code), words
        told = await laptop.run(*words)
        assert "plain form" not in told.output, told.output
        assert told.exception is None or isinstance(told.exception, SystemExit), told.exception


@pytest.mark.parametrize("verb", sorted(ON_SITE))
async def test_what_needs_the_config_says_so(verb: str, tmp_path: Path) -> None:
    """Before it does anything: exit 2, with the verb and what to give in place of the URL."""
    error = await Laptop("http://127.0.0.1:1", tmp_path).no(2, *ON_SITE[verb])
    assert error["kind"] == "usage"
    assert f"{verb}" in error["message"]
    assert "needs the config and its plan store" in error["message"]
    assert "--config FILE" in error["message"]
