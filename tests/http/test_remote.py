"""`enactorctl --url` against a live enactor: the same documents, refusals and exit codes as with the config."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from enactord.cli.ctl import VERBS
from enactord.cli.ctl import main as ctl
from tests.deploy.desk import Desk
from tests.deploy.process import Service, service
from tests.servers.embedded import Embedded
from tests.tokens import secret_of, write_tokens
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
    "planner": (["planner"],),
    "prune": (["prune", "--dry-run"],),
    "verify": (["verify"],),
    "adopt": (["adopt", NAME], ["adopt", "elsewhere.invalid"]),
    "thaw": (["thaw"],),
}
"""What is asked by the config and over HTTP, and must come to the same document."""

ORDERED = {"freeze", "watch", "publish", "rollback"}
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


class Laptop:
    """Commands on a machine that has a URL and a token, and no config."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self._desk = desk
        self.token = folder / "token"
        self.bearing("alice")
        self.url = f"http://127.0.0.1:{desk.http}"

    def bearing(self, name: str) -> None:
        """Carry the token of this name from now on."""
        self.token.write_text(secret_of(name) + "\n")
        self.token.chmod(0o600)

    async def run(self, *words: str, **environment: str) -> Result:
        given = ["--url", self.url, "--token-file", str(self.token), *words]
        return await asyncio.to_thread(CliRunner(env=environment).invoke, ctl, given)

    async def ok(self, *words: str) -> Any:
        done = await self.run(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    async def both(self, words: Sequence[str]) -> tuple[tuple[int, Any], tuple[int, Any]]:
        """Return exit code and document, by the config and over HTTP."""
        on_site = ["--config", str(self._desk.config), *words, "--json"]
        here = await asyncio.to_thread(CliRunner().invoke, ctl, on_site)
        away = await self.run(*words, "--json")
        return (here.exit_code, json.loads(here.stdout)), (away.exit_code, json.loads(away.stdout))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[tuple[Laptop, Desk, Service]]:
    """An enactor of a scope with two plans, a name that is held, and some history; operator, planner and viewer."""
    with Embedded([ZONE]) as server:
        desk = Desk(tmp_path, server)
        write_tokens(tmp_path / "http.tokens", alice="operator", planner_1="planner", viewer_1="viewer")
        await desk.publish(plan(fleet(40, 1)))
        async with service(desk.config) as enactor:
            await enactor.until(lambda: enactor.event("plan.applied"))
            await desk.publish(plan(fleet(39) | fleet(5, 2) | {f"empty.{ZONE}": []}))
            await enactor.until(lambda: enactor.event("plan.applied", 2))
            await desk.ctl("freeze", "--reason", "a drill")
            await desk.ctl("thaw", "--reason", "it is over")
            yield Laptop(desk, tmp_path), desk, enactor


def test_every_verb_is_known_here() -> None:
    """A new verb says whether it works from a laptop, and has its test."""
    assert {*SAME, *ORDERED, *ON_SITE, "completion"} == set(VERBS)


async def test_every_verb_shows_the_same_from_a_laptop(site: tuple[Laptop, Desk, Service]) -> None:
    """Exit code and document, verb by verb; refusals too. What an enactor has just told may be a moment old."""
    laptop, _, _ = site
    for words in (words for asked in SAME.values() for words in asked):
        for _ in range(50):
            here, away = await laptop.both(words)
            if here == away:
                break
            await asyncio.sleep(0.2)
        assert away == here, words
    told = [await laptop.run(*words) for asked in SAME.values() for words in asked]
    assert not [done.output for done in told if "plain form" in done.output or "Traceback" in done.output]
