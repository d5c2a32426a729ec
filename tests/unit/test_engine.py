"""The engine on a world in memory: the way of a plan, and every state that it must get out of."""

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from enactord.core.buckets import BucketId
from enactord.core.events import (
    EndpointHeld,
    EndpointRepaired,
    FenceAhead,
    PlanApplied,
    PlanRefused,
    PlanSuperseded,
    StaleWriteRefused,
)
from enactord.core.fence import Fence, parse_fence
from enactord.core.kv import Delete, Put
from enactord.core.ledger import REMOVAL, Version, with_pending
from enactord.core.plan import Approval
from enactord.core.records import NO_RECORDS, Outcome, Records, Served, Transaction, Unknown
from enactord.core.refusal import Refusal
from enactord.core.retention import Keep
from enactord.engine.prune import Pruner
from enactord.store.cache import Cache
from enactord.store.control import Freeze, freeze, thaw
from enactord.store.fences import Fences
from enactord.store.ledger_index import bucket_value
from tests.world import SCOPE, ZONE, World, fleet, plan, tolerant, unfailing

A = f"a.{ZONE}"
GONE = next(iter(fleet(1, 1)))
FOREIGN = Records(ttl_s=60, a=(b"\x0a\x63\x00\x01",), aaaa=())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with unfailing(World()) as made:
        yield made


async def test_a_plan_is_served_and_entered_in_the_ledger(world: World) -> None:
    """The whole way: published, fenced, written, seen, recorded."""
    own = (await world.add("a")).enactor.cache
    manifest = await world.publish(plan(fleet(300)))
    await world.applied(1)
    assert world.serves(fleet(300))
    fence = Fence(scope=SCOPE, generation=1, plan=manifest.mark, installation=own.installation)
    assert parse_fence(world.servers[ZONE].fence) == fence
    totals = (await world.view()).ledger.totals
    assert (totals.owned, totals.pending, totals.held, totals.unseen) == (300, 0, 0, 0)


async def test_three_enactors_share_and_none_undoes_another(world: World) -> None:
    """Three at once end where one alone would."""
    for name in "abc":
        await world.add(name)
    for generation in range(1, 6):
        await world.publish(plan(fleet(500, generation)))
        await asyncio.sleep(0.02)
    await world.applied(5)
    assert world.serves(fleet(500, 5))


async def test_a_delayed_write_of_an_old_plan_is_refused_by_the_server() -> None:
    """The October 2025 outage: A is held on the wire with plan 2, B applies 3..7, A is let go. Nothing repairs."""
    world = World(repair_interval_s=3600.0)
    late = await world.add("late")
    await world.publish(plan(fleet(100, 1)))
    await world.applied(1)
    late.zones[ZONE].open.clear()
    await world.publish(plan(fleet(100, 2)))
    await world.until(lambda: late.zones[ZONE].held > 0)
    await world.add("b")
    for generation in range(3, 8):
        await world.publish(plan(fleet(100, generation)))
        await world.applied(generation)
    late.store.cut()
    late.zones[ZONE].open.set()
    await asyncio.sleep(0.2)
    assert world.serves(fleet(100, 7))
    late.store.mend()
    await world.applied(7)
    assert world.serves(fleet(100, 7))
    await world.close()


async def test_a_late_removal_does_not_take_names_that_a_newer_plan_keeps() -> None:
    """Plan 2 drops a name, its removal is held on the wire, plan 3 keeps the name: it stays. Nothing repairs."""
    world = World(repair_interval_s=3600.0)
    late = await world.add("late")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    late.zones[ZONE].open.clear()
    await world.publish(plan(fleet(9, 1)))
    await world.until(lambda: late.zones[ZONE].held > 0)
    await world.add("b")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(3)
    late.zones[ZONE].open.set()
    await asyncio.sleep(0.2)
    assert world.serves(fleet(10, 1))
    await world.close()


async def test_an_empty_endpoint_is_held_and_the_rest_applies(world: World) -> None:
    """An empty answer is never written; the endpoint keeps what it served."""
    member = await world.add("a")
    await world.publish(plan(fleet(20, 1)))
    await world.applied(1)
    await world.publish(plan(fleet(20, 2) | {f"n00003.{ZONE}": []}))
    await world.applied(2)
    assert world.serves(fleet(20, 2) | {f"n00003.{ZONE}": fleet(20, 1)[f"n00003.{ZONE}"]})
    assert [h.guard for h in member.recorder.of(EndpointHeld)] == ["targets_min"]
    assert (await world.view()).ledger.totals.held == 1
    await world.publish(plan(fleet(20, 3)))
    await world.applied(3)
    assert world.serves(fleet(20, 3))
    assert (await world.view()).ledger.totals.held == 0


async def test_a_malformed_endpoint_is_held_and_the_rest_applies(world: World) -> None:
    """Nobody's word lets it pass; it keeps what it served until the planner sends a sound one."""
    member = await world.add("a")
    name, before = f"n00003.{ZONE}", fleet(20, 1)
    await world.publish(plan(before))
    await world.applied(1)
    bad = plan(fleet(20, 2) | {f"new.{ZONE}": []})
    bad["endpoints"][name] = bad["endpoints"][f"new.{ZONE}"] = {"ttl_s": 5, "targets": [{"address": "10.0.0.300"}]}
    await world.publish(bad, approval=Approval(of=0, author="op", reason="x"))
    await world.applied(2)
    assert world.serves(fleet(20, 2) | {name: before[name]})
    assert world.servers[ZONE].serve(f"new.{ZONE}").records.empty
    held = member.recorder.of(EndpointHeld)
    assert {(hold.name, hold.guard) for hold in held} == {(name, "malformed"), (f"new.{ZONE}", "malformed")}
    assert "weight: is missing: an integer" in held[0].detail
    await world.publish(plan(fleet(20, 3)))
    await world.applied(3)
    assert world.serves(fleet(20, 3))
    assert (await world.view()).ledger.totals.held == 0


async def test_a_shrunk_plan_is_refused_and_the_one_before_goes_on(world: World) -> None:
    """Too many removals refuse the plan as a whole; an approval of it is a new generation that passes."""
    member = await world.add("a")
    await world.publish(plan(fleet(100, 1)))
    await world.applied(1)
    await world.publish(plan(fleet(50, 2)))
    await world.until(lambda: member.recorder.of(PlanRefused))
    assert member.recorder.of(PlanRefused)[0].guard == "endpoints_removed"
    assert world.serves(fleet(100, 1))
    assert member.enactor.reasons()
    from enactord.core.plan import Approval
    from enactord.store.plans import Orders

    await world.plans.republish(2, Orders(approval=Approval(of=2, author="me", reason="meant")))
    await world.applied(3)
    assert world.serves(fleet(50, 2))
    assert len(world.servers[ZONE].names()) == 50


async def test_a_refused_plan_does_not_keep_the_one_before_from_being_finished(world: World) -> None:
    """What is newest acceptable is applied, not what is newest."""
    await world.publish(plan(fleet(100, 1)))
    await world.add("a")
    await world.applied(1)
    await world.stop("a")
    await world.publish(plan(fleet(100, 2)))
    await world.publish(plan(fleet(10, 3)))
    await world.add("a")
    await world.applied(2)
    assert world.serves(fleet(100, 2))


async def test_a_name_that_is_not_ours_is_never_touched(world: World) -> None:
    """What somebody else put there stays, and is held with the way to adopt it."""
    world.servers[ZONE].put_foreign(A, records=FOREIGN)
    alias = f"b.{ZONE}"
    world.servers[ZONE].put_foreign(alias, cname="elsewhere.test.")
    member = await world.add("a")
    await world.publish(plan(fleet(50, 1) | {A: ["10.0.0.1"], alias: ["10.0.0.2"]}))
    await world.applied(1)
    assert world.servers[ZONE].serve(A).records == FOREIGN
    assert world.servers[ZONE].serve(alias).alias == "elsewhere.test."
    assert world.serves(fleet(50, 1))
    held = {h.name: h for h in member.recorder.of(EndpointHeld)}
    assert held[A].guard == held[alias].guard == "foreign"
    assert "adopt" in held[A].detail
    await world.publish(plan(fleet(50, 1)))
    await world.applied(2)
    assert world.servers[ZONE].serve(A).records == FOREIGN


async def test_a_foreign_name_does_not_keep_enactors_busy(world: World) -> None:
    """Two enactors hold it once and then only look now and then: the ledger stays as it is, and old plans go."""
    world.servers[ZONE].put_foreign(A, records=FOREIGN)
    await world.add("a")
    await world.add("b")
    for number in (1, 2):
        await world.publish(plan(fleet(5, number) | {A: ["10.0.0.1"]}))
        await world.applied(number)
    await world.until(lambda: world.members["a"].enactor.cache.ledger.totals.held == 1)
    await asyncio.sleep(0.5)
    before = {key: item.mod_revision for key, item in (await world.view()).items.items() if "/ledger/" in key}
    await asyncio.sleep(1.0)  # several looks
    assert before == {key: item.mod_revision for key, item in (await world.view()).items.items() if "/ledger/" in key}
    world.servers[ZONE].put_foreign(A)
    await world.until(lambda: world.serves({A: ["10.0.0.1"]}))


async def test_an_emptied_name_comes_back_with_the_store_away(world: World) -> None:
    """The zone is wiped by hand while the store is down: all is served again from the local copy."""
    member = await world.add("a")
    await world.publish(plan(fleet(200, 1)))
    await world.applied(1)
    member.store.cut()
    await world.until(lambda: not member.enactor.store_up)
    world.servers[ZONE].wipe()
    await world.until(lambda: world.serves(fleet(200, 1)) and len(member.recorder.of(EndpointRepaired)) == 200)
    assert {h.kind for h in member.recorder.of(EndpointRepaired)} == {"emptied"}


async def test_a_start_without_the_store_still_repairs(world: World) -> None:
    """An enactor that starts while the store is away works from its disk."""
    await world.add("a")
    await world.publish(plan(fleet(50, 1)))
    await world.applied(1)
    copy = await world.stop("a")
    world.servers[ZONE].wipe()
    member = await world.add("a", copy, store_up=False)
    await world.until(lambda: world.serves(fleet(50, 1)))
    assert not member.enactor.store_up


async def test_a_withdrawn_name_stays_away_with_the_store_down(world: World) -> None:
    """Repair knows what the plan at the fence says: an absence that it asked for is no drift."""
    cut_off = await world.add("a")
    await world.add("b")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    cut_off.store.cut()
    await world.publish(plan(fleet(9, 1)))
    await world.applied(2)
    await asyncio.sleep(1.0)
    assert world.servers[ZONE].serve(f"n00009.{ZONE}").records == NO_RECORDS


async def test_a_removal_under_the_fence_last_seen_is_no_drift() -> None:
    """Cut off after the open of the plan that drops a name, before its ledger entry went: the absence is explained."""
    world = World(repair_interval_s=0.2)
    cut_off, other = await world.add("a"), await world.add("b")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    for member in (cut_off, other):
        member.zones[ZONE].open.clear()
    await world.publish(plan(fleet(9, 1)))
    await world.until(lambda: cut_off.enactor.cache.fences.get(ZONE, 0) >= 2)
    cut_off.store.cut()
    await world.until(lambda: not cut_off.enactor.store_up)
    other.zones[ZONE].open.set()
    await world.applied(2)
    cut_off.zones[ZONE].open.set()
    gone = f"n00009.{ZONE}"
    for _ in range(20):
        await asyncio.sleep(0.05)
        assert world.servers[ZONE].serve(gone).records == NO_RECORDS
    await world.close()


@pytest.mark.parametrize("records", [FOREIGN, NO_RECORDS])
async def test_repair_alone_goes_not_behind_the_plan_at_the_fence(records: Records) -> None:
    """Cut off after an open; others apply that plan; a foreign hand comes: what is put back is that plan's."""
    world = World(repair_interval_s=0.2)
    cut_off, other = await world.add("a"), await world.add("b")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    for member in (cut_off, other):
        member.zones[ZONE].open.clear()
    await world.publish(plan(fleet(10, 2) | {f"n00009.{ZONE}": []}))
    await world.until(lambda: cut_off.enactor.cache.fences.get(ZONE, 0) >= 2)
    cut_off.store.cut()
    await world.until(lambda: not cut_off.enactor.store_up)
    other.zones[ZONE].open.set()
    await world.applied(2)
    await world.stop("b")
    cut_off.zones[ZONE].open.set()
    await asyncio.sleep(0.1)  # what it had on its way lands: the same content
    name, held = f"n00003.{ZONE}", f"n00009.{ZONE}"
    for changed in (name, held):
        world.servers[ZONE].put_foreign(changed, records=records)
    await world.until(lambda: world.serves({name: fleet(10, 2)[name], held: fleet(10, 1)[held]}))
    await world.until(lambda: cut_off.recorder.of(EndpointRepaired))  # told once it was read back
    assert {h.generation for h in cut_off.recorder.of(EndpointRepaired)} == {2}
    await world.close()


async def test_a_store_set_back_does_not_set_the_zone_back() -> None:
    """A backup is restored: its ledger is older than what is served, and nothing of it is put back."""
    world = World(repair_interval_s=0.2)
    await world.publish(plan(fleet(10, 1)))
    await world.add("a")
    await world.applied(1)
    await world.stop("a")
    backup = copy.deepcopy((world.store._versions, world.store._revision))
    await world.publish(plan(fleet(10, 2)))
    await world.add("a")
    await world.applied(2)
    await world.stop("a")
    world.store._versions, world.store._revision = backup
    world.store._log.clear()
    member = await world.add("a")
    for _ in range(20):
        await asyncio.sleep(0.05)
        assert world.serves(fleet(10, 2))
    assert any("the store does not have" in reason for reason in member.enactor.reasons())
    await world.publish(plan(fleet(10, 1)))
    await world.applied(3)
    await world.until(lambda: world.serves(fleet(10, 1)))
    await world.close()


async def test_repair_alone_distrusts_a_ledger_unlike_the_plan() -> None:
    """The watch lost the commit of a bucket and the store went away: the plan itself shows that the ledger is old."""
    world = World(repair_interval_s=0.2)
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    cache = member.enactor.cache
    await world.publish(plan(fleet(10, 2)))
    old = {key: item for key, item in cache.items.items() if "/ledger/" in key}
    await world.applied(2)
    member.store.cut()
    await world.until(lambda: not member.enactor.store_up)
    cache.items.update(old)
    assert cache.applied(ZONE) == 2
    for _ in range(20):
        await asyncio.sleep(0.05)
        assert world.serves(fleet(10, 2))
    world.servers[ZONE].wipe()
    await world.until(lambda: world.serves(fleet(10, 2)))
    await world.close()


async def test_repair_alone_judges_by_what_it_read() -> None:
    """While names are read, the plan at the fence is applied and the cache told; then the store goes away."""
    world = World(repair_interval_s=3600.0)
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    await freeze(world.store, world.keys, Freeze(mode="all", reason="r", author="x", since=0.0))
    await world.until(lambda: member.enactor.cache.freeze)
    second = await world.publish(plan(fleet(10, 2)))
    fence = Fence(scope=SCOPE, generation=2, plan=second.mark)
    await Fences(world.store, world.keys).follow(ZONE, fence)
    world.servers[ZONE].put_fence(fence.seen)
    await world.until(lambda: member.enactor.cache.fences.get(ZONE, 0) >= 2)
    zone = member.zones[ZONE]
    read, reading, go_on = zone.read, asyncio.Event(), asyncio.Event()

    async def held(names: Sequence[str]) -> Mapping[str, Served]:
        zone.read = read  # type: ignore[method-assign]
        reading.set()
        await go_on.wait()
        return await read(names)

    zone.read = held  # type: ignore[method-assign]
    look = asyncio.create_task(member.enactor.repairer.look(ZONE, paced=False))
    await asyncio.wait_for(reading.wait(), 10)
    await thaw(world.store, world.keys)
    await world.applied(2)
    member.store.cut()
    await world.until(lambda: not member.enactor.store_up)
    go_on.set()
    assert (await look).drifts == ()
    assert world.serves(fleet(10, 2))
    await world.close()


async def begun_by_another(world: World, cache: Cache) -> None:
    """Mark GONE in the store, as an enactor does that begins to write it."""
    bucket_id = cache.ledger.find(ZONE, GONE)
    assert bucket_id is not None
    bucket = cache.ledger.bucket(bucket_id)
    begun = with_pending(bucket[GONE], Version(generation=2, content=REMOVAL, answers_max=16))
    put = Put(key=world.keys.ledger(bucket_id), value=bucket_value(bucket | {GONE: begun}, bucket_id.slots))
    await world.store.transact((), [put])


async def test_repair_asks_the_store_for_what_its_watch_has_not_shown() -> None:
    """Another enactor has begun to write the name; the watch is late. Nothing is put back beside that write."""
    world = World(repair_interval_s=3600.0)
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    cache = member.enactor.cache
    cache.apply = lambda changes: None  # type: ignore[method-assign]
    await begun_by_another(world, cache)
    world.servers[ZONE].put_foreign(GONE)
    assert (await member.enactor.repairer.look(ZONE, paced=False)).drifts == ()
    assert world.serves({GONE: []})
    await world.close()


async def test_a_repair_is_sent_once() -> None:
    """It is judged by what was read just before; sent again, it could find that brought about anew, and be outdated."""
    world = World(repair_interval_s=3600.0)
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    zone, sent = member.zones[ZONE], []
    write = zone.write

    async def lost(transaction: Transaction) -> Outcome:
        sent.append(transaction)
        return Unknown(detail="lost by the test")

    zone.write = lost  # type: ignore[method-assign]
    world.servers[ZONE].put_foreign(GONE)
    await member.enactor.repairer.look(ZONE, paced=False)
    assert len(sent) == 1
    assert not member.recorder.of(EndpointRepaired)
    zone.write = write  # type: ignore[method-assign]
    await member.enactor.repairer.look(ZONE, paced=False)
    assert world.serves(fleet(10, 1))
    await world.close()


async def test_a_repair_that_was_refused_is_judged_anew() -> None:
    """Refused with its neighbour, a name is not sent alone as it was judged: another enactor has begun to write it."""
    world = World(repair_interval_s=3600.0)
    member = await world.add("a")
    await world.publish(plan(fleet(100, 1)))
    await world.applied(1)
    zone, cache = member.zones[ZONE], member.enactor.cache
    write, index = zone.write, cache.ledger
    neighbour = next(name for name in fleet(100, 1) if index.find(ZONE, name) != index.find(ZONE, GONE))
    cache.apply = lambda changes: None  # type: ignore[method-assign]

    async def meanwhile(transaction: Transaction) -> Outcome:
        zone.write = write  # type: ignore[method-assign]
        world.servers[ZONE].put_foreign(neighbour, records=FOREIGN)
        outcome = await write(transaction)
        await begun_by_another(world, cache)
        return outcome

    zone.write = meanwhile  # type: ignore[method-assign]
    for name in (GONE, neighbour):
        world.servers[ZONE].put_foreign(name)
    look = await member.enactor.repairer.look(ZONE, paced=False)
    assert sorted(drift.name for drift in look.drifts) == sorted([GONE, neighbour])
    assert look.repaired == (neighbour,)
    assert world.serves({GONE: [], neighbour: fleet(100, 1)[neighbour]})
    await world.close()


async def test_a_small_plan_is_left_to_the_one_whose_turn_it_is() -> None:
    """Who comes later waits while the first is about to finish; one that does not act is not waited for long."""
    world = World(head_start_s=0.2, repair_interval_s=3600.0)
    members = [await world.add(name) for name in ("a", "b", "c")]
    await world.until(lambda: all(len(member.enactor.cache.enactors) == 3 for member in members))
    for generation in range(1, 4):
        await world.publish(plan(fleet(10, generation)))
        await world.applied(generation)
    opened = [len(member.recorder.of(PlanApplied)) for member in members]
    assert sum(opened) == 3
    for member in members[:2]:
        for zone in member.zones.values():
            zone.open.clear()
    await world.publish(plan(fleet(10, 4)))
    await world.applied(4)
    await world.close()


async def test_names_being_written_count_as_removed(world: World) -> None:
    """A plan that drops names whose first write is under way is judged as if they were served: perhaps they are."""
    member = await world.add("a")
    await world.publish(plan(fleet(2, 1)))
    await world.applied(1)
    member.zones[ZONE].open.clear()
    await world.publish(plan(fleet(12, 1)))
    await world.until(lambda: member.enactor.cache.ledger.totals.pending == 10)
    await world.publish(plan(fleet(2, 1)))
    await world.until(lambda: member.recorder.of(PlanRefused))
    assert member.recorder.of(PlanRefused)[0].guard == "endpoints_removed"
    member.zones[ZONE].open.set()
    await world.until(lambda: world.serves(fleet(12, 1)))


async def test_a_plan_under_way_counts_as_served(world: World) -> None:
    """A plan that drops most of what the plan at the fence holds is refused, before the ledger shows any of it."""
    first = await world.publish(plan(fleet(12, 1)))
    fence = Fence(scope=SCOPE, generation=1, plan=first.mark)
    await Fences(world.store, world.keys).follow(ZONE, fence)
    await world.publish(plan(fleet(2, 2)))
    member = await world.add("a")
    await world.until(lambda: member.recorder.of(PlanRefused))
    assert member.recorder.of(PlanRefused)[0].guard == "endpoints_removed"
    await world.applied(1)
    assert world.serves(fleet(12, 1))


async def test_a_plan_that_goes_back_restores_what_one_that_came_half_way_had_removed() -> None:
    """The plan between is never applied as a whole; what it took away is looked for all the same."""
    world = World(batch_names_max=1)
    member = await world.add("a")
    zone = member.zones[ZONE]
    write = zone.write
    old = fleet(10, 1)
    gone, stuck, *_ = old
    between = {name: addresses for name, addresses in fleet(11, 1).items() if name != gone}
    between[stuck] = ["10.99.0.1"]

    async def lost(transaction: Transaction) -> Outcome:
        if any(change.name == stuck for change in transaction.changes):
            return Unknown(detail="lost by the test")
        return await write(transaction)

    await world.publish(plan(old))
    await world.applied(1)
    zone.write = lost  # type: ignore[method-assign]
    await world.publish(plan(between))
    await world.until(lambda: member.enactor.cache.ledger.entry(gone) is None)
    zone.write = write  # type: ignore[method-assign]
    await world.publish(plan(old))
    await world.applied(3)
    assert world.serves(old)
    await world.close()


async def test_a_hold_keeps_what_was_written_last_though_nobody_recorded_it() -> None:
    """Plan 2 lands unrecorded, plan 3 never lands, plan 4 is held: what is served stays plan 2's, not plan 1's."""
    world = World()
    member = await world.add("a")
    zone = member.zones[ZONE]
    write = zone.write

    async def unanswered(transaction: Transaction) -> Outcome:
        outcome = await write(transaction)
        if transaction.changes:
            await asyncio.sleep(3600)
        return outcome

    async def lost(transaction: Transaction) -> Outcome:
        return Unknown(detail="lost by the test") if transaction.changes else await write(transaction)

    def pending() -> int:
        entry = member.enactor.cache.ledger.entry(A)
        return entry.pending.generation if entry and entry.pending else 0

    await world.publish(plan({A: ["10.0.0.1"]}))
    await world.applied(1)
    zone.write = unanswered  # type: ignore[method-assign]
    await world.publish(plan({A: ["10.0.0.2"]}))
    await world.until(lambda: world.serves({A: ["10.0.0.2"]}))
    zone.write = lost  # type: ignore[method-assign]
    await world.publish(plan({A: ["10.0.0.3"]}))
    await world.until(lambda: pending() == 3)
    await world.publish(plan({A: []}))
    await world.applied(4)
    zone.write = write  # type: ignore[method-assign]
    for _ in range(2):
        await member.enactor.repairer.look(ZONE, paced=False)
    assert world.serves({A: ["10.0.0.2"]})
    assert not member.recorder.of(EndpointRepaired)
    await world.close()


async def test_a_removal_that_nobody_recorded_stays_removed_under_a_plan_that_is_held() -> None:
    """Plan 2 takes the name away unrecorded; plan 3 has it, but is held: nothing comes back from plan 1."""
    world = World()
    member = await world.add("a")
    zone = member.zones[ZONE]
    write = zone.write
    rest = fleet(10, 1)

    async def unanswered(transaction: Transaction) -> Outcome:
        outcome = await write(transaction)
        if transaction.changes:
            await asyncio.sleep(3600)
        return outcome

    await world.publish(plan({A: ["10.0.0.1"]} | rest))
    await world.applied(1)
    zone.write = unanswered  # type: ignore[method-assign]
    await world.publish(plan(rest))
    await world.until(lambda: world.serves({A: []}))
    zone.write = write  # type: ignore[method-assign]
    await world.publish(plan({A: [], **rest}))
    await world.applied(3)
    for _ in range(2):
        await member.enactor.repairer.look(ZONE, paced=False)
    assert world.serves({A: []})
    await world.close()


async def test_a_write_that_lands_after_another_enactor_gave_it_up_leaves_no_orphan() -> None:
    """One finds a new name taken and holds it; the other's write lands once it is free: ours, it goes with its plan."""
    world = World(("example.test.",), repair_interval_s=3600.0)
    slow, quick = await world.add("slow"), await world.add("quick")
    rest = fleet(10, 1)
    await world.publish(plan(rest))
    await world.applied(1)
    world.servers[ZONE].put_foreign(A, records=FOREIGN)
    for member in (slow, quick):
        member.zones[ZONE].open.clear()
    await world.publish(plan(rest | {A: ["10.0.0.1"]}))
    await world.until(lambda: slow.zones[ZONE].held and quick.zones[ZONE].held, 20.0)
    quick.zones[ZONE].open.set()
    await world.until(lambda: quick.recorder.of(EndpointHeld))
    world.servers[ZONE].put_foreign(A)
    slow.zones[ZONE].open.set()
    await world.until(lambda: world.serves({A: ["10.0.0.1"]}))
    await world.publish(plan(rest))
    await world.applied(3)
    assert world.serves(rest | {A: []})
    await world.close()


async def test_drift_is_put_back_but_never_an_alias(world: World) -> None:
    """A foreign edit of an owned name is undone; a foreign CNAME is reported."""
    member = await world.add("a")
    await world.publish(plan(fleet(30, 1)))
    await world.applied(1)
    world.servers[ZONE].put_foreign(f"n00001.{ZONE}", records=FOREIGN)
    world.servers[ZONE].put_foreign(f"n00002.{ZONE}")
    await world.until(lambda: len(member.recorder.of(EndpointRepaired)) == 2)  # told once they were read back
    assert world.serves(fleet(30, 1))
    assert {h.kind for h in member.recorder.of(EndpointRepaired)} == {"emptied", "drifted"}


@pytest.mark.parametrize(
    "state",
    [
        (),
        (b"\x04junk",),
        (b"\x01a", b"\x01b"),
        (Fence(scope=SCOPE, generation=1, plan="0" * 16).rdata,),
    ],
)
async def test_any_older_fence_is_replaced(world: World, state: tuple[bytes, ...]) -> None:
    """A fence that is missing, garbled or older never blocks the way."""
    world.servers[ZONE].put_fence(state)
    await world.publish(plan(fleet(5, 1)))
    await world.publish(plan(fleet(5, 2)))
    await world.add("a")
    await world.applied(2)
    assert world.serves(fleet(5, 2))


async def test_a_zone_ahead_of_the_store_waits_for_a_generation_above_both(world: World) -> None:
    """A store restored from an old backup: nothing at or below the zone's fence is applied, and it is said."""
    world.servers[ZONE].put_fence((Fence(scope=SCOPE, generation=500, plan="a" * 16).rdata,))
    await world.publish(plan(fleet(5, 1)))
    member = await world.add("a")
    await world.until(lambda: member.recorder.of(FenceAhead))
    await asyncio.sleep(0.3)
    assert not world.servers[ZONE].names()
    assert any("500" in reason for reason in member.enactor.reasons())
    refusal = await world.refused(plan(fleet(5, 2), generation=500))
    assert refusal.guard == "generation"
    assert (await world.publish(plan(fleet(5, 2)))).generation == 501
    await world.applied(501)
    assert world.serves(fleet(5, 2))


async def test_a_zone_of_another_scope_is_left_alone(world: World) -> None:
    """Two scopes must not fight over one zone: the second says whose it is."""
    world.servers[ZONE].put_fence((Fence(scope="other", generation=1, plan="a" * 16).rdata,))
    member = await world.add("a")
    await world.publish(plan(fleet(5, 1), generation=7))
    await world.until(lambda: any("other" in reason for reason in member.enactor.reasons()))
    assert not world.servers[ZONE].names()


async def test_a_zone_restored_from_a_backup_is_opened_again_and_repaired(world: World) -> None:
    """The zone's fence behind the store's: re-open, then verify all."""
    await world.add("a")
    await world.publish(plan(fleet(40, 1)))
    await world.applied(1)
    old = {name: world.servers[ZONE].serve(name).records for name in world.servers[ZONE].names()}
    fence = world.servers[ZONE].fence
    await world.publish(plan(fleet(40, 2)))
    await world.applied(2)
    for name, records in old.items():
        world.servers[ZONE].put_foreign(name, records=records)
    world.servers[ZONE].put_fence(fence)
    await world.until(lambda: world.serves(fleet(40, 2)))
    assert parse_fence(world.servers[ZONE].fence).generation == 2  # type: ignore[union-attr]


async def test_a_lost_ledger_is_written_anew(world: World) -> None:
    """Ledger gone from the store: names that serve what the plan says are entered again."""
    await world.add("a")
    await world.publish(plan(fleet(60, 1)))
    await world.applied(1)
    await world.store.transact((), (Delete(key=world.keys.all_ledger, prefix=True),))
    await world.publish(plan(fleet(60, 1)))
    await world.applied(2)
    assert (await world.view()).ledger.totals.owned == 60


async def test_a_missing_chunk_refuses_the_plan_and_says_which(world: World) -> None:
    """A plan that cannot be read whole is not applied in part."""
    await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    await world.stop("a")
    manifest = await world.publish(plan(fleet(10, 2)))
    await world.store.transact((), (Delete(key=world.keys.chunk(next(manifest.digests()))),))
    member = await world.add("a")
    await world.until(lambda: member.recorder.of(PlanRefused))
    assert member.recorder.of(PlanRefused)[0].guard == "unreadable"
    assert world.serves(fleet(10, 1))
    await world.publish(plan(fleet(10, 3)))
    await world.applied(3)


async def test_a_garbled_store_fence_does_not_block(world: World) -> None:
    """The store's fence is replaced from any state."""
    await world.store.transact((), (Put(key=world.keys.fence(ZONE), value=b"junk"),))
    await world.add("a")
    await world.publish(plan(fleet(5, 1)))
    await world.applied(1)
    assert world.serves(fleet(5, 1))


async def test_a_newer_plan_cancels_the_rest_of_the_older(world: World) -> None:
    """Plans are never queued."""
    member = await world.add("a")
    await world.publish(plan(fleet(100, 1)))
    await world.applied(1)
    member.zones[ZONE].open.clear()
    await world.publish(plan(fleet(100, 2)))
    await world.until(lambda: member.zones[ZONE].held > 0)
    await world.publish(plan(fleet(100, 3)))
    await world.until(lambda: member.recorder.of(PlanSuperseded))
    member.zones[ZONE].open.set()
    await world.applied(3)
    assert world.serves(fleet(100, 3))


async def test_nothing_is_written_while_frozen(world: World) -> None:
    """Frozen, plans wait; `all` keeps even repair from writing; thawed, the newest is applied."""
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    await freeze(world.store, world.keys, Freeze(mode="all", reason="r", author="me", since=0.0))
    await world.until(lambda: member.enactor.cache.freeze is not None)
    await asyncio.sleep(0.1)
    writes = world.servers[ZONE].writes_committed
    await world.publish(plan(fleet(10, 2)))
    world.servers[ZONE].put_foreign(f"n00001.{ZONE}")
    await asyncio.sleep(0.8)
    assert world.servers[ZONE].writes_committed == writes
    await freeze(world.store, world.keys, Freeze(mode="repair-only", reason="r", author="me", since=0.0))
    await world.until(lambda: world.serves(fleet(10, 1)))
    await thaw(world.store, world.keys)
    await world.applied(2)
    assert world.serves(fleet(10, 2))


async def test_velocity_holds_and_names_the_numbers(world: World) -> None:
    """An endpoint that would lose more than half its weight keeps it."""
    member = await world.add("a")
    await world.publish(plan(fleet(5, 1, addresses=4)))
    await world.applied(1)
    await world.publish(plan(fleet(5, 2, addresses=1)))
    await world.applied(2)
    assert world.serves(fleet(5, 1, addresses=4))
    assert {h.guard for h in member.recorder.of(EndpointHeld)} == {"velocity"}
    await world.publish(plan(fleet(5, 3, addresses=2)))
    await world.applied(3)
    assert world.serves(fleet(5, 3, addresses=2))


async def test_prune_keeps_what_is_active_and_claimed() -> None:
    """With keep_plans 0 the applied plan, a held endpoint's own, and a claimed one stay; the rest goes."""
    world = World(keep=Keep(plans=0), limits=tolerant())
    member = await world.add("a")
    await world.publish(plan(fleet(20, 1)))
    await world.applied(1)
    await world.publish(plan(fleet(20, 2) | {f"n00003.{ZONE}": []}))
    await world.applied(2)
    for generation in range(3, 8):
        await world.publish(plan(fleet(20, generation) | {f"n00003.{ZONE}": []}))
        await world.applied(generation)
    lease = await world.store.grant(60)
    await world.store.transact((), (Put(key=world.keys.claim(4, "paused"), value=b"x", lease=lease),))
    pruner = Pruner(world.store, SCOPE, zones=[ZONE], keep=Keep(plans=0), clock=world.clock, observer=member.recorder)
    assert len(await pruner.prune(dry_run=True)) == 7
    assert await world.plans.generations() == [1, 2, 3, 4, 5, 6, 7]
    verdicts = await pruner.prune()
    kept = {v.generation: v.refusal.guard for v in verdicts if v.refusal is not None}
    assert await world.plans.generations() == [1, 4, 7]
    assert kept == {1: "referenced", 4: "claimed", 7: "fence"}
    assert world.serves(fleet(20, 7) | {f"n00003.{ZONE}": fleet(20, 1)[f"n00003.{ZONE}"]})
    endpoints = await world.plans.endpoints(await world.plans.manifest(7))  # type: ignore[arg-type]
    assert len(endpoints) == 20, "a chunk that a kept plan names must not be swept"
    await world.close()


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, -3), slice(2, None)])
async def test_nothing_is_pruned_while_part_of_the_ledger_cannot_be_read(cut: slice) -> None:
    """What cannot be read may need any plan."""
    world = World(keep=Keep(plans=0))
    member = await world.add("a")
    for generation in (1, 2):
        await world.publish(plan(fleet(20, generation)))
        await world.applied(generation)
    await world.stop("a")
    key = world.keys.ledger(BucketId(ZONE, 0, 1))
    value = (await world.store.get([key]))[key].value
    pruner = Pruner(world.store, SCOPE, zones=[ZONE], keep=Keep(plans=0), clock=world.clock, observer=member.recorder)
    await world.store.transact((), (Put(key=key, value=value[cut]),))
    assert [v.refusal and v.refusal.guard for v in await pruner.prune()] == ["unreadable", "fence"]
    await world.store.transact((), (Put(key=key, value=value),))
    assert [v.refusal and v.refusal.guard for v in await pruner.prune()] == [None, "fence"]
    await world.close()


async def test_a_claim_that_was_lost_cannot_commit(world: World) -> None:
    """An enactor whose lease was revoked is refused by the store, and starts anew with a new claim."""
    member = await world.add("a")
    await world.publish(plan(fleet(50, 1)))
    await world.applied(1)
    member.zones[ZONE].open.clear()
    await world.publish(plan(fleet(50, 2)))
    await world.until(lambda: member.zones[ZONE].held > 0)
    await world.store.revoke(member.enactor.session.lease)
    member.zones[ZONE].open.set()
    await world.applied(2)
    assert world.serves(fleet(50, 2))


async def test_a_claim_on_a_plan_that_was_given_up_does_not_stay(world: World) -> None:
    """Left in the moment of claiming, it would keep its plan from being pruned for as long as the enactor lives."""
    member = await world.add("a")
    await world.publish(plan(fleet(5, 1)))
    await world.publish(plan(fleet(5, 2)))
    await world.applied(2)
    lease = member.enactor.session.lease
    await world.store.transact((), (Put(key=world.keys.claim(1, "a"), value=b"a", lease=lease),))
    await world.until(lambda: member.enactor.cache.claims(1))
    await world.until(lambda: not member.enactor.cache.claims(1))


async def test_several_zones_move_together_and_one_that_is_down_does_not_stop_the_other() -> None:
    """A zone whose server is away is caught up when it is back."""
    other = "other.test."
    world = World(zones=(ZONE, other))
    await world.add("a")
    both = fleet(20, 1) | fleet(20, 1, zone=other)
    await world.publish(plan(both))
    await world.applied(1)
    world.servers[other].up = False
    await world.publish(plan(fleet(20, 2) | fleet(20, 2, zone=other)))
    await world.until(lambda: world.serves(fleet(20, 2)))
    world.servers[other].up = True
    await world.applied(2)
    assert world.serves(fleet(20, 2, zone=other))
    await world.close()


async def test_a_foreign_write_cannot_hide_as_ours_when_stale(world: World) -> None:
    """A stale writer is told which fence refused it."""
    late = await world.add("late")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    late.zones[ZONE].open.clear()
    await world.publish(plan(fleet(10, 2)))
    await world.until(lambda: late.zones[ZONE].held > 0)
    late.store.cut()
    await world.add("b")
    await world.publish(plan(fleet(10, 3)))
    await world.applied(3)
    late.zones[ZONE].open.set()
    await world.until(lambda: late.recorder.of(StaleWriteRefused))
    assert world.serves(fleet(10, 3))


async def test_many_addresses_are_not_replaced_by_a_heavy_one() -> None:
    """The weight is the same; the zone does not express it, so one address would carry what sixteen did."""
    world = World()
    await world.add("a")
    name = f"n.{ZONE}"
    spread = {name: [f"10.0.0.{i}" for i in range(1, 17)]}
    await world.publish(plan(spread))
    await world.applied(1)
    heavy = {"ttl_s": 5, "targets": [{"address": "10.0.0.1", "weight": 160}]}
    await world.publish(plan({}) | {"endpoints": {name: heavy}})
    held = await world.held(name)
    assert held.guard == "velocity"
    assert "addresses served 16 would fall to 1" in held.detail
    assert world.serves(spread)
    await world.close()


async def test_a_name_that_comes_back_within_the_window_is_judged_by_what_it_could_carry() -> None:
    """Dropped and added again within seconds, it is served as before and held on that, not as little as is wanted."""
    world = World()
    await world.add("a")
    name = f"n.{ZONE}"
    large = fleet(5) | {name: [f"10.0.0.{i}" for i in range(1, 17)]}
    await world.publish(plan(large))
    await world.applied(1)
    await world.publish(plan(fleet(5)))
    await world.applied(2)
    await world.publish(plan(fleet(5) | {name: ["10.0.0.1"]}))
    held = await world.held(name)
    assert held.guard == "velocity"
    assert "weight 160 would fall to 10" in held.detail
    assert world.serves(large)
    await world.applied(3)
    # A word of an operator is needed for less, as for any other endpoint.
    approval = Approval(of=3, author="op", reason="meant")
    await world.publish(plan(fleet(5) | {name: ["10.0.0.1"]}), approval=approval)
    await world.until(lambda: world.serves({name: ["10.0.0.1"]}))
    await world.close()


async def test_after_the_window_a_name_that_comes_back_begins_anew() -> None:
    world = World(limits=tolerant(velocity_window_s=1.0))
    await world.add("a")
    name = f"n.{ZONE}"
    await world.publish(plan(fleet(5) | {name: [f"10.0.0.{i}" for i in range(1, 17)]}))
    await world.applied(1)
    await world.publish(plan(fleet(5)))
    await world.applied(2)
    await asyncio.sleep(1.5)
    await world.publish(plan(fleet(5) | {name: ["10.0.0.1"]}))
    await world.applied(3)
    assert world.serves({name: ["10.0.0.1"]})
    await world.close()


async def test_a_refused_plan_is_marked_until_it_is_accepted() -> None:
    """Whatever its publisher thought: an enactor's refusal is known to all who weigh later plans."""
    world = World()
    member = await world.add("a")
    await world.publish(plan(fleet(20)))
    await world.applied(1)
    await world.publish(plan(fleet(10)))
    await world.until(lambda: 2 in member.enactor.cache.refused)
    assert await world.plans.refused() == {2}
    await world.publish(plan(fleet(20)))
    await world.applied(3)
    await world.publish(plan(fleet(17)))
    await world.applied(4)
    # A mark that came too late, from an enactor that was behind: whoever sees the plan opened takes it back.
    await world.plans.mark_refused(4, Refusal(guard="endpoints_removed", detail="late"), "b")
    await world.until(lambda: 4 not in member.enactor.cache.refused)
    await world.close()
