"""`publish --wait` and `rollback --wait`: until it is served at every verify server, or cannot be, or time is up."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from enactord.cli.awaiting import Patience, Standing, standing_of
from enactord.cli.terminal import Bar
from enactord.core.errors import StoreDown
from enactord.core.plan import read_plan
from enactord.operations import acts as operations
from enactord.operations.acts import Published, Scope
from enactord.store.plans import Orders
from tests.unit.command import ctl_in
from tests.world import SCOPE, ZONE, World, fleet, plan, tolerant

LIMIT_S = 30.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(repair_interval_s=0.05, verify_timeout_s=0.2)
    yield made
    await made.close()


@pytest.fixture
def scope(world: World) -> Scope:
    return Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=tolerant(), clock=world.clock, wait_s=0.0)


async def published(scope: Scope, document: Any) -> Published:
    done = await operations.publish(scope, read_plan(document), Orders())
    assert isinstance(done, Published), done
    return done


async def wait(scope: Scope, done: Published, limit_s: float = LIMIT_S) -> Any:
    found = await Patience(confirm_s=0.0, served_s=limit_s).by_store(scope, done.document(), Bar())
    assert isinstance(found, dict)
    return found["waited"]


async def test_it_ends_when_all_is_seen_served(world: World, scope: Scope) -> None:
    """Not before an enactor has come; then with exit code 0."""
    done = await published(scope, plan(fleet(10)))
    waiting = asyncio.ensure_future(wait(scope, done))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await world.add("e1")
    waited = await waiting
    assert (waited["code"], waited["served"], waited["zones_applied"]) == (0, True, 1)
    assert world.servers[ZONE].serve(f"n00003.{ZONE}")


async def test_names_that_are_held_end_it_with_no(world: World, scope: Scope) -> None:
    """The rest is applied, and the count is told."""
    await world.add("e1")
    await published(scope, plan(fleet(10)))
    await world.applied(1)
    waited = await wait(scope, await published(scope, plan(fleet(10, 2) | {f"n00003.{ZONE}": []})))
    assert (waited["code"], waited["held"]) == (1, 1)
    assert "1 held" in waited["text"]


async def test_time_that_is_up_says_what_stands_in_the_way(world: World, scope: Scope) -> None:
    """No enactor; a freeze; each with what to type."""
    done = await published(scope, plan(fleet(10)))
    waited = await wait(scope, done, 0.5)
    assert waited["code"] == 1
    assert "no enactor is alive" in waited["text"]
    await operations.freeze(scope, mode="all", reason="-", author="op")
    await world.add("e1")
    waited = await wait(scope, done, 0.5)
    assert "enactorctl thaw" in waited["text"]


async def test_a_store_that_goes_away_is_asked_again(world: World, scope: Scope) -> None:
    """While there is time; where it never answers, that is another exit code: the plan is published all the same."""
    await world.add("e1")
    done = await published(scope, plan(fleet(10)))
    await world.applied(1)

    class Lame:
        down = True

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        async def range(self, *words: Any, **how: Any) -> Any:
            if self.down:
                raise StoreDown("cut off")
            return await world.store.range(*words, **how)

    lame = Lame()
    other = Scope(store=lame, name=SCOPE, zones=[ZONE], limits=tolerant(), clock=world.clock)
    waited = await wait(other, done, 0.3)
    assert (waited["code"], waited["served"], waited["why"]) == (3, None, "cut off")
    waiting = asyncio.ensure_future(wait(other, done))
    await asyncio.sleep(0.2)
    lame.down = False
    assert (await waiting)["served"]


def status(**changes: Any) -> dict[str, Any]:
    counts = {"total": 5, "pending": 0, "held": 0, "unseen": 0}
    zones = [{"zone": ZONE, "state": "applied", "applied": 7, "endpoints": counts}]
    plans = {"stored": 1, "oldest": 1, "refused": []}
    return {"head": 7, "zones": zones, "plans": plans, "frozen": None, "enactors": [{"id": "a"}]} | changes


def test_a_plan_that_enactors_refuse_is_waited_for_no_longer() -> None:
    """It never will be applied."""
    found = standing_of(status(plans={"stored": 1, "oldest": 1, "refused": [8]}), 8)
    assert (found.ended, found.served, found.code) == (True, False, 1)
    assert "refuse the plan" in found.text()


def test_a_later_plan_counts_and_a_zone_that_left_the_config_does_not() -> None:
    """What is served is at least as new; nobody works on the other zone."""
    gone = {"zone": "old.", "state": "not in this config", "applied": 1, "endpoints": {"total": 1, "pending": 3}}
    here = status()
    found = standing_of(status(zones=[*here["zones"], gone]), 6)
    assert isinstance(found, Standing)
    assert (found.served, found.superseded_by) == (True, 7)
    assert "plan 7 came after it" in found.text()


@pytest.mark.parametrize("verb", [("publish", "plan.json"), ("rollback", "1", "--reason", "-")])
def test_the_command_says_it_and_exits_by_it(tmp_path: Path, verb: tuple[str, ...]) -> None:
    """Without an enactor time is up: exit 1, and the document says so; without --wait there is no such key."""
    ctl = ctl_in(tmp_path)
    file = tmp_path / "plan.json"
    for turn in (1, 2):
        endpoints = {f"n{turn}.example.test.": {"ttl_s": 30, "targets": [{"address": "10.0.0.1", "weight": 1}]}}
        document = {"schema": "enactord.plan/v1", "scope": "test", "endpoints": endpoints}
        file.write_text(json.dumps(document))
        assert "waited" not in json.loads(ctl("publish", str(file), "--confirm-within", "0", "--json"))
    words = [str(file) if word == "plan.json" else word for word in verb]
    found = json.loads(ctl(*words, "--confirm-within", "0", "--wait", "--timeout", "0.4", "--json", code=1))
    assert found["generation"] == 3
    assert found["waited"]["served"] is False
    assert "no enactor is alive" in found["waited"]["why"]
    assert "waited" not in json.loads(ctl(*words, "--wait", "--dry-run", "--json"))
