"""The audit log: what was done stands there with the deed, stays bounded, and is told newest first."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enactord.core.errors import StoreDown
from enactord.core.kv import Put
from enactord.core.plan import read_plan
from enactord.core.records import Records
from enactord.daemon import operations
from enactord.daemon.archive import Restored, backup, restore
from enactord.daemon.operations import Denied, Published
from enactord.operations import audit
from enactord.operations.limits import set_limit
from enactord.operations.scope import Scope
from enactord.registry.audit import Act, Deed, act_put, parse_act, read_acts, trim_acts
from enactord.registry.keys import json_value, stored_json
from enactord.registry.plans import Orders
from enactord.store.layout import AUDIT
from tests.unit.command import ctl_in
from tests.world import SCOPE, ZONE, Breaking, World, fleet, plan, tolerant


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


@pytest.fixture
def scope(world: World) -> Scope:
    return scope_of(world)


def scope_of(world: World, store: Any = None) -> Scope:
    zones = list(world.servers)
    return Scope(store=store or world.store, name=SCOPE, zones=zones, limits=tolerant(), clock=world.clock)


async def told(scope: Scope, **how: Any) -> list[Act]:
    """Return the log as it is now, newest first."""
    return (await audit.acts(scope, **{"limit": 1000} | how))[0]


async def publish(scope: Scope, generation: int, **orders: Any) -> None:
    done = await operations.publish(scope, read_plan(plan(fleet(5, generation))), Orders(**orders))
    assert isinstance(done, Published), done


def short(act: Act) -> tuple[str, str, str, str, int]:
    return act.author, act.role, act.deed, act.reason, act.generation


def act(number: int, deed: Deed = Deed.FREEZE) -> Act:
    return Act(at=1e9 + number, author=f"a{number}", role="operator", deed=deed)


# -- what is entered


async def test_after_a_thaw_the_log_tells_who_froze(scope: Scope) -> None:
    """The freeze itself is gone from the store; who did it and why is not."""
    by_token = replace(scope, role="operator")
    await operations.freeze(by_token, mode="repair-only", reason="INC-4711", author="alice")
    assert await operations.thaw(scope, author="bob", reason="over") is not None
    assert await operations.thaw(scope, author="bob") is None
    thawed, frozen = await told(scope)
    assert short(frozen) == ("alice", "operator", "freeze", "INC-4711", 0)
    assert frozen.facts == {"mode": "repair-only"}
    assert short(thawed) == ("bob", "command line", "thaw", "over", 0)
    assert (thawed.facts["frozen_by"], thawed.facts["frozen_for"]) == ("alice", "INC-4711")


async def test_publications_tell_what_they_are_and_what_came_of_them(scope: Scope) -> None:
    """Who published, approved and rolled back, each with its generation; what was refused or tried only is no deed."""
    planner = replace(scope, role="planner")
    await publish(planner, 1, author="planner-1", reason="deploy")
    await publish(planner, 2, author="planner-1")
    assert isinstance(await operations.rollback(scope, 1, author="alice", reason="bad"), Published)
    draft = read_plan(plan(fleet(5, 4)))
    assert isinstance(await operations.approve(scope, draft, author="alice", reason="meant"), Published)
    tried = operations.How(dry_run=True)
    assert isinstance(await operations.approve(scope, draft, author="alice", reason="x", how=tried), Published)
    refused = read_plan(plan(fleet(5, 5), generation=1))
    assert isinstance(await operations.publish(scope, refused, Orders()), Denied)
    approved, back, second, first = await told(scope)
    assert short(first) == ("planner-1", "planner", "publish", "deploy", 1)
    assert first.facts["endpoints"] == 5
    assert short(second)[2:] == ("publish", "", 2)
    assert short(back) == ("alice", "command line", "rollback", "bad", 3)
    assert (back.facts["to"], back.facts["pauses"]) == (1, "default")
    assert short(approved) == ("alice", "command line", "approve", "meant", 4)


async def test_limits_pauses_and_resumes_are_entered(scope: Scope) -> None:
    await operations.pause(scope, "default", reason="rebuild", author="alice")
    await operations.resume(scope, "default", author="bob", reason="rebuilt")
    assert isinstance(await set_limit(scope, tolerant(), "targets_min", "2", author="carol", reason="two"), tuple)
    limit, resumed, paused = await told(scope)
    assert short(paused) == ("alice", "command line", "pause", "rebuild", 0)
    assert short(resumed) == ("bob", "command line", "resume", "rebuilt", 0)
    assert resumed.facts == {"planner": "default", "paused_by": "alice", "paused_for": "rebuild"}
    assert short(limit) == ("carol", "command line", "limits set", "two", 0)
    assert limit.facts == {"key": "targets_min", "before": "1", "after": "2"}


async def test_an_adoption_and_a_repair_are_entered(world: World, scope: Scope) -> None:
    member = await world.add("e1")
    name = f"there.{ZONE}"
    world.servers[ZONE].put_foreign(name, records=Records(ttl_s=5, a=(bytes((10, 0, 0, 1)),), aaaa=()))
    zones = {ZONE: (member.zones[ZONE], 16)}
    done = await operations.adopt(scope, [name], zones, author="alice", reason="ours")
    assert not isinstance(done, Denied), done
    world.servers[ZONE].put_foreign(name)
    looks = await operations.repair(scope, member.enactor.ports.zones, member.enactor.settings, author="bob")
    (adopted,) = [act for act in await told(scope) if act.deed == Deed.ADOPT]
    assert short(adopted) == ("alice", "command line", "adopt", "ours", 0)
    assert adopted.facts == {"names": name, "count": 1}
    repaired = [act for act in await told(scope) if act.deed == Deed.REPAIR]
    assert len(repaired) == bool([name for look in looks for name in look.repaired])


async def test_a_restore_is_entered_and_deletes_no_entry(world: World, scope: Scope, tmp_path: Path) -> None:
    """What was done since the backup was done all the same."""
    await publish(scope, 1)
    await operations.freeze(scope, mode="all", reason="before", author="alice")
    await operations.thaw(scope, author="alice")
    await backup(scope, tmp_path / "b")
    await operations.freeze(scope, mode="all", reason="after", author="bob")
    await operations.thaw(scope, author="bob")
    done = await restore(scope, tmp_path / "b", {}, author="carol", replace=True)
    assert isinstance(done, Restored), done
    acts = await told(scope)
    assert [act.deed for act in acts] == ["restore", "thaw", "freeze", "thaw", "freeze", "publish"]
    assert (acts[0].author, acts[0].facts["file"], acts[2].reason) == ("carol", "b", "after")


async def test_a_deed_and_its_entry_are_one(world: World, scope: Scope) -> None:
    """A store that refuses the one has not the other: both stand in one transaction."""
    broken = replace(scope, store=Breaking(world.store, 0))
    with pytest.raises(StoreDown):
        await operations.freeze(broken, mode="all", reason="r", author="x")
    assert await told(scope) == []
    assert (await scope.mirror()).freeze is None
    once = replace(scope, store=Breaking(world.store, 1))
    await operations.freeze(once, mode="all", reason="r", author="x")
    assert [act.deed for act in await told(scope)] == ["freeze"]
    assert (await scope.mirror()).freeze is not None


async def test_what_cannot_be_entered_afterwards_is_told_and_does_not_fail(world: World, scope: Scope) -> None:
    broken = replace(scope, store=Breaking(world.store, 0))
    assert await audit.enter(broken, Deed.EMERGENCY_SEAL, author="x", facts={}) != ""
    assert await audit.enter(scope, Deed.EMERGENCY_SEAL, author="x", facts={"zone": ZONE}) == ""
    assert [act.facts for act in await told(scope)] == [{"zone": ZONE}]


# -- how it is kept


async def test_a_planner_that_publishes_for_ever_pushes_no_freeze_out(world: World, scope: Scope) -> None:
    """Publications have a bound of their own; the newest stay, in order."""
    puts = [act_put(scope.keys, act(0), "a")]
    puts += [act_put(scope.keys, act(number, Deed.PUBLISH), f"{number}") for number in range(1, 250)]
    for start in range(0, len(puts), 100):
        await world.store.transact((), puts[start : start + 100])
    assert await trim_acts(world.store, scope.keys, kept=10) == 239
    assert [act.author for act in await told(scope)] == [*(f"a{number}" for number in range(249, 239, -1)), "a0"]
    assert await trim_acts(world.store, scope.keys, kept=10) == 0


async def test_the_log_is_bounded_by_those_who_write_it(world: World, scope: Scope) -> None:
    """No enactor need be alive for it."""
    for start in range(0, 1100, 100):
        puts = [act_put(scope.keys, act(number), "a") for number in range(start, start + 100)]
        await world.store.transact((), puts)
    for _ in range(300):  # one of sixteen tidies; that none does has a chance of 4 in a billion
        await audit.tidy(scope)
    page = await world.store.range(*scope.keys.bounds(AUDIT))
    assert len(page.items) == 1000


async def test_pages_go_on_where_they_ended(world: World, scope: Scope) -> None:
    await world.store.transact((), [act_put(scope.keys, act(number), "a") for number in range(10)])
    seen: list[str] = []
    before = ""
    while True:
        acts, before = await read_acts(world.store, scope.keys, limit=4, before=before)
        seen += [act.author for act in acts]
        if not before:
            break
    assert seen == [f"a{number}" for number in range(9, -1, -1)]
    assert [act.author for act in await told(scope, since=1e9 + 7)] == ["a9", "a8", "a7"]
    assert (await read_acts(world.store, scope.keys, limit=10))[1] == ""


async def test_an_entry_that_cannot_be_read_hides_no_other(world: World, scope: Scope) -> None:
    await world.store.transact((), [act_put(scope.keys, act(number), "a") for number in range(3)])
    item = (await world.store.range(*scope.keys.bounds(AUDIT))).items[1]
    for value in (b"", b"junk", b"audit 2\n{}", AUDIT.value(b"{}")):
        await world.store.transact((), [Put(key=item.key, value=value)])
        assert [act.author for act in await told(scope)] == ["a2", "a0"]


SOUND: Mapping[str, Any] = stored_json(AUDIT, act_put(scope_of(World()).keys, act(1), "a").value)


@pytest.mark.parametrize(
    "change",
    [{"at": -1}, {"at": "x"}, {"author": 1}, {"role": None}, {"deed": 3}, {"generation": -1}, {"generation": "1"},
     {"facts": []}, {"facts": {"a": [1]}}, {"facts": {"a": True}}, {"reason": {}}],
)  # fmt: skip
def test_a_damaged_entry_is_none(change: Mapping[str, Any]) -> None:
    assert parse_act(json_value(AUDIT, dict(SOUND))) == act(1)
    assert parse_act(json_value(AUDIT, {**SOUND, **change})) is None


def test_texts_of_an_entry_are_cut() -> None:
    """Whatever somebody gives as a reason, an entry stays small."""
    long = Act(at=1.0, author="a" * 9999, role="r", deed="d", reason="r" * 9999, facts={"f": "x" * 9999})
    assert len(act_put(scope_of(World()).keys, long, "0").value) < 4000


def test_the_command_shows_the_log(tmp_path: Path) -> None:
    ctl = ctl_in(tmp_path)
    assert "nothing was done" in ctl("audit")
    ctl("freeze", "--reason", "INC", "--author", "alice")
    ctl("thaw", "--author", "bob", "--reason", "over")
    newest, oldest = json.loads(ctl("audit", "--json"))["audit"]
    assert (oldest["author"], oldest["deed"], oldest["reason"], oldest["role"]) == (
        "alice", "freeze", "INC", "command line"
    )  # fmt: skip
    assert (newest["author"], newest["deed"], newest["facts"]["frozen_by"]) == ("bob", "thaw", "alice")
    shown = ctl("audit", "--limit", "1")
    assert "bob" in shown
    assert "there are older ones" in shown
    assert json.loads(ctl("audit", "--since", "2999-01-01", "--json"))["audit"] == []
    ctl("audit", "--since", "soon", code=2)
