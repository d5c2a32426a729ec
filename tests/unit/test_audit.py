"""The audit log: what was done stands there with the deed, stays bounded, and is told newest first."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enactord.core.errors import StoreDown
from enactord.core.kv import Put
from enactord.core.plan import read_plan
from enactord.core.records import Records
from enactord.operations import acts as operations
from enactord.operations import audit
from enactord.operations.acts import Denied, Published
from enactord.operations.archive import Restored, backup, restore
from enactord.operations.limits import set_limit
from enactord.operations.scope import Scope
from enactord.store.audit import ROOM_MAX, Act, Deed, act_put, parse_act, read_acts, trim_acts
from enactord.store.keys import json_value, stored_json
from enactord.store.layout import AUDIT
from enactord.store.plans import Orders
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


class Overtaken:
    """A store in which somebody else stores something after the first read that finds something."""

    def __init__(self, store: Any, after: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._after: Callable[[], Awaitable[object]] | None = after

    async def get(self, keys: Sequence[str]) -> Any:
        found = await self._store.get(keys)
        if found and self._after is not None:
            after, self._after = self._after, None
            await after()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_what_is_undone_is_what_the_log_tells(world: World, scope: Scope) -> None:
    """Of a freeze or pause that was replaced meanwhile the log and the answer tell the new one, which is undone."""

    async def freeze() -> None:
        await operations.freeze(scope, mode="all", reason="new", author="carol")

    async def pause() -> None:
        await operations.pause(scope, "default", reason="new", author="carol")

    await operations.freeze(scope, mode="repair-only", reason="old", author="alice")
    before = await operations.thaw(replace(scope, store=Overtaken(world.store, freeze)), author="bob")
    assert before is not None
    assert (before.author, before.reason, before.mode) == ("carol", "new", "all")
    assert (await told(scope))[0].facts["frozen_by"] == "carol"
    await operations.pause(scope, "default", reason="old", author="alice")
    paused = await operations.resume(replace(scope, store=Overtaken(world.store, pause)), "default", author="bob")
    assert paused is not None
    assert (paused.author, paused.reason) == ("carol", "new")
    assert (await told(scope))[0].facts["paused_by"] == "carol"
    deeds = [each.deed for each in await told(scope)]
    assert deeds == ["resume", "pause", "pause", "thaw", "freeze", "freeze"]


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


class NoLog:
    """A store that takes everything but entries of the audit log."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def transact(self, compares: Sequence[Any], operations: Sequence[Any]) -> Any:
        if any("/audit/" in operation.key for operation in operations):
            raise StoreDown("no place for the log")
        return await self._store.transact(compares, operations)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_repair_and_a_restore_that_cannot_be_entered_say_so(world: World, scope: Scope, tmp_path: Path) -> None:
    """They are done, and do not fail; but nobody is to believe that the log tells of them."""
    member = await world.add("e1")
    await world.publish(plan(fleet(3)))
    await world.applied(1)
    await world.stop("e1")
    name = min(fleet(3))
    world.servers[ZONE].put_foreign(name)
    late = replace(scope, store=NoLog(world.store))
    warned: list[str] = []
    ports = member.enactor.ports.zones
    await operations.repair(late, ports, member.enactor.settings, author="bob", warn=warned.append)
    assert not world.servers[ZONE].serve(name).empty
    assert warned == ["this act may be missing in the audit log: no place for the log"]
    await backup(scope, tmp_path / "b")
    done = await restore(late, tmp_path / "b", {}, author="carol", replace=True)
    assert isinstance(done, Restored), done
    assert done.document()["unentered"] == warned[0]


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
    assert (await scope.cache()).freeze is None
    once = replace(scope, store=Breaking(world.store, 1))
    await operations.freeze(once, mode="all", reason="r", author="x")
    assert [act.deed for act in await told(scope)] == ["freeze"]
    assert (await scope.cache()).freeze is not None


async def test_what_cannot_be_entered_afterwards_is_told_and_does_not_fail(world: World, scope: Scope) -> None:
    broken = replace(scope, store=Breaking(world.store, 0))
    assert await audit.enter(broken, Deed.EMERGENCY_SEAL, author="x", facts={}) != ""
    assert await audit.enter(scope, Deed.EMERGENCY_SEAL, author="x", facts={"zone": ZONE}) == ""
    assert [act.facts for act in await told(scope)] == [{"zone": ZONE}]


# -- how it is kept

HOUR_S, DAY_S = 3600, 86_400
NOW = 1.7e9


def deed(at: float, author: str, deed: Deed = Deed.FREEZE, role: str = "operator") -> Act:
    return Act(at=at, author=author, role=role, deed=deed)


async def store_acts(world: World, scope: Scope, acts: Sequence[Act]) -> None:
    puts = [act_put(scope.keys, each, f"{number:x}") for number, each in enumerate(acts)]
    for start in range(0, len(puts), 100):
        await world.store.transact((), puts[start : start + 100])


async def stamps(scope: Scope, author: str) -> list[float]:
    """Return when the entries of an author were, oldest first."""
    page = await scope.store.range(*scope.keys.bounds(AUDIT))
    acts = [parse_act(item.value) for item in page.items]
    return sorted(each.at for each in acts if each is not None and each.author == author)


async def test_a_flood_of_a_stolen_token_pushes_out_nothing_but_its_own(world: World, scope: Scope) -> None:
    """Thousands of freezes and thaws in seconds: what others did stays, and what its owner did before."""
    others = [deed(NOW - 60 * number, "bob", Deed.THAW) for number in range(50)]
    before = [deed(NOW - 5 * HOUR_S - 60 * number, "alice") for number in range(20)]
    flood = [deed(NOW + number / 100, "alice", (Deed.FREEZE, Deed.THAW)[number % 2]) for number in range(2000)]
    await store_acts(world, scope, [*others, *before, *flood])
    assert await trim_acts(world.store, scope.keys, NOW + 60, room_max=200) == 1870
    assert len(await stamps(scope, "bob")) == 50
    left = await stamps(scope, "alice")
    assert [at for at in left if at < NOW - HOUR_S] == sorted(each.at for each in before)
    assert {flood[0].at, flood[1].at, flood[-1].at, flood[-2].at} <= set(left)
    assert len(left) == 150
    assert await trim_acts(world.store, scope.keys, NOW + 60, room_max=200) == 0


async def test_a_flood_of_a_week_leaves_some_of_each_hour(world: World, scope: Scope) -> None:
    """By one token, with each deed that HTTP has: what others did a few times an hour is there still."""
    deeds = (Deed.FREEZE, Deed.THAW, Deed.PAUSE, Deed.RESUME, Deed.ROLLBACK, Deed.PUBLISH)
    hours = range(168)
    flood = [deed(NOW - hour * HOUR_S - place, "alice", each) for hour in hours for each in deeds for place in range(6)]
    others = [deed(NOW - hour * HOUR_S - place, "bob") for hour in hours for place in range(3)]
    await store_acts(world, scope, [*flood, *others])
    await trim_acts(world.store, scope.keys, NOW)
    assert await stamps(scope, "bob") == sorted(each.at for each in others)
    assert len((await world.store.range(*scope.keys.bounds(AUDIT))).items) <= ROOM_MAX


async def test_a_planner_that_publishes_for_ever_pushes_out_no_order(world: World, scope: Scope) -> None:
    """Neither freezes nor publications of operators: planners have another room, where each hour keeps some."""
    orders = [deed(NOW - number * HOUR_S, "alice", each) for each in (Deed.FREEZE, Deed.PUBLISH) for number in range(9)]
    plans = [deed(NOW - 60 * number, "planner-1", Deed.PUBLISH, "planner") for number in range(600)]
    await store_acts(world, scope, [*orders, *plans])
    await trim_acts(world.store, scope.keys, NOW, room_max=100)
    assert len(await stamps(scope, "alice")) == 18
    left = await stamps(scope, "planner-1")
    assert 80 <= len(left) <= 100
    assert {int(at // HOUR_S) for at in left} == {int(each.at // HOUR_S) for each in plans}
    assert left[-1] == NOW


async def test_a_week_stays_and_of_what_is_older_the_newest_of_each_author_and_deed(world: World, scope: Scope) -> None:
    old = [deed(NOW - (8 + number) * DAY_S, author) for author in ("alice", "bob") for number in range(20)]
    young = [deed(NOW - DAY_S - number, "alice") for number in range(8)]
    await store_acts(world, scope, [*old, *young])
    assert await trim_acts(world.store, scope.keys, NOW, kept=10) == 18 + 10
    assert await stamps(scope, "alice") == [old[1].at, old[0].at, *sorted(each.at for each in young)]
    assert len(await stamps(scope, "bob")) == 10


async def test_the_log_is_bounded_whatever_stands_in_it(world: World, scope: Scope) -> None:
    """Also by authors without number, and by entries that cannot be read; of those the oldest go."""
    await store_acts(world, scope, [deed(NOW + number, f"a{number}") for number in range(300)])
    junk = [Put(key=scope.keys.act("orders", number, "0"), value=b"junk") for number in range(100)]
    await world.store.transact((), junk)
    await trim_acts(world.store, scope.keys, NOW, room_max=100)
    assert [each.author for each in await told(scope)] == [f"a{number}" for number in range(299, 199, -1)]
    assert len((await world.store.range(*scope.keys.bounds(AUDIT))).items) == 100


async def test_the_log_is_bounded_by_those_who_write_it(world: World, scope: Scope) -> None:
    """No enactor need be alive for it."""
    await store_acts(world, scope, [deed(world.clock.now() - number / 10, "alice") for number in range(ROOM_MAX + 100)])
    for _ in range(300):  # one of sixteen tidies; that none does has a chance of 4 in a billion
        await audit.tidy(scope)
    page = await world.store.range(*scope.keys.bounds(AUDIT))
    assert len(page.items) == ROOM_MAX


async def test_publications_of_one_moment_are_in_the_order_of_their_generations(world: World, scope: Scope) -> None:
    """Ten comes after nine, though "10" sorts before "9"."""
    for generation in range(1, 12):
        await publish(scope, generation, author="alice")
    page = await world.store.range(*scope.keys.bounds(AUDIT))
    assert [each.generation for each in await told(scope)] == list(range(11, 0, -1))
    marks = [item.key.rpartition("-")[2] for item in page.items]
    assert marks == sorted(marks)


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
