"""A planner is paused: by a rollback, or by an operator's word; nothing of it is published until it is resumed."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from enactord.core.kv import Put
from enactord.core.plan import read_plan
from enactord.operations import acts as operations
from enactord.operations.acts import Denied, How, Published
from enactord.operations.scope import Scope
from enactord.store.layout import PAUSED
from enactord.store.planners import DEFAULT, Pause, parse_pause, pause_value
from enactord.store.plans import Orders
from tests.unit.command import ctl_in
from tests.world import SCOPE, ZONE, World, fleet, plan, tolerant


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


@pytest.fixture
def scope(world: World) -> Scope:
    return Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=tolerant(), clock=world.clock, wait_s=0.0)


async def publish(scope: Scope, generation: int) -> Published | Denied:
    return await operations.publish(scope, read_plan(plan(fleet(10, generation))), Orders())


async def test_a_rollback_pauses_the_planner_that_would_bring_the_bad_plan_back(world: World, scope: Scope) -> None:
    """In one transaction with the rollback; the rollback says so, and how to go on."""
    await publish(scope, 1)
    await publish(scope, 2)
    done = await operations.rollback(scope, 1, author="op", reason="wrong addresses")
    assert isinstance(done, Published)
    assert f"planner {DEFAULT} is paused" in done.warnings[-1] or any("is paused" in w for w in done.warnings)
    refused = await publish(scope, 2)
    assert isinstance(refused, Denied)
    assert refused.refusals[0].guard == "paused"
    assert "op: rollback to plan 1: wrong addresses" in refused.refusals[0].detail
    assert "enactorctl planner resume default" in refused.refusals[0].detail
    # An operator's orders pass: another rollback, and one exact plan that is approved.
    assert isinstance(await operations.rollback(scope, 2, author="op", reason="was right"), Published)
    approved = await operations.approve(scope, read_plan(plan(fleet(10, 3))), author="op", reason="this one")
    assert isinstance(approved, Published)
    before = await operations.resume(scope, DEFAULT, author="op")
    assert before is not None
    assert before.author == "op"
    assert isinstance(await publish(scope, 4), Published)
    assert await operations.resume(scope, DEFAULT, author="op") is None


async def test_a_rollback_that_changes_nothing_or_is_told_not_to_pauses_nobody(world: World, scope: Scope) -> None:
    await publish(scope, 1)
    await publish(scope, 1)
    done = await operations.rollback(scope, 1, author="op", reason="drill")
    assert isinstance(done, Published)
    assert not any("paused" in warning for warning in done.warnings)
    await publish(scope, 2)
    rehearsed = await operations.rollback(scope, 1, author="op", reason="r", how=How(dry_run=True))
    assert isinstance(rehearsed, Published)
    assert any("would be paused" in warning for warning in rehearsed.warnings)
    assert isinstance(await operations.rollback(scope, 1, author="op", reason="r", pause=False), Published)
    assert (await world.view()).paused == {}
    assert isinstance(await publish(scope, 3), Published)


async def test_a_pause_that_comes_while_a_plan_is_on_its_way_stops_it(world: World, scope: Scope) -> None:
    """The plan's own transaction compares the pause: whichever the store takes first decides."""
    await publish(scope, 1)
    transact = scope.store.transact

    async def paused_first(compares: Any, operations_: Any) -> Any:
        if any(isinstance(op, Put) and op.key == scope.keys.head for op in operations_):
            world.store.transact = transact  # type: ignore[method-assign]
            await operations.pause(scope, DEFAULT, reason="now", author="op")
        return await transact(compares, operations_)

    world.store.transact = paused_first  # type: ignore[assignment, method-assign]
    refused = await publish(scope, 2)
    assert isinstance(refused, Denied)
    assert refused.refusals[0].guard == "paused"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"junk",
        PAUSED.value(b"{}"),
        PAUSED.value(b"[1]"),
        b"paused %d\nx" % (PAUSED.format + 1),
        *(
            PAUSED.value(b'{"reason": "r", "author": "a", "at": %s}' % at)
            for at in (b"1e18", b"-1", b"NaN", b"Infinity")
        ),
    ],
)
async def test_a_pause_that_cannot_be_read_pauses(world: World, scope: Scope, value: bytes) -> None:
    assert parse_pause(pause_value(Pause(reason="r", author="a", at=1.0))) == Pause(reason="r", author="a", at=1.0)
    await world.store.transact((), [Put(key=scope.keys.paused(DEFAULT), value=value)])
    refused = await publish(scope, 1)
    assert isinstance(refused, Denied)
    await operations.resume(scope, DEFAULT, author="op")
    assert isinstance(await publish(scope, 1), Published)


def test_the_command_pauses_and_resumes(tmp_path: Any) -> None:
    run = ctl_in(tmp_path)
    document = tmp_path / "plan.json"
    document.write_text(json.dumps(plan(fleet(3))))

    assert json.loads(run("planners", "--json")) == {"planners": [{"planner": "default", "paused": None}]}
    assert "publishes" in run("planners")
    assert "to go on: enactorctl planner resume default" in run(
        "planner", "pause", "--reason", "rebuilt", "--author", "me"
    )
    assert "planner default is PAUSED" in run("status")
    assert "by me: rebuilt" in run("planners")
    (listed,) = json.loads(run("planners", "--json"))["planners"]
    assert (listed["planner"], listed["paused"]["reason"]) == ("default", "rebuilt")
    assert "planner default is paused" in run("publish", str(document), code=1)
    rehearsed = run("publish", str(document), "--dry-run")
    assert "nothing was stored" in rehearsed
    assert "warning: planner default is paused" in rehearsed
    assert "planner default is paused" in run("publish", str(document), code=1)
    assert "was paused by me" in run("planner", "resume")
    assert "was not paused" in run("planner", "resume")
    assert "there is one planner, default" in run("planner", "resume", "other", code=2)
    run("publish", str(document))
