"""An operator overrides one endpoint for some hours: it outlives plans, and the planner's content comes back."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enactord.core.kv import Put
from enactord.core.overrides import ABSENT, DRAIN, LASTS_MAX_S, PIN, WEIGHT, Override, check_override, overridden
from enactord.core.plan import content_digest, read_plan
from enactord.operations import acts as operations
from enactord.operations import audit
from enactord.operations.acts import Denied, How, Published, Scope
from enactord.operations.news import compare, glance
from enactord.operations.override import Overridden, end_expired, end_override, override
from enactord.operations.override_draft import Wanted
from enactord.store.cache import Cache
from enactord.store.layout import OVERRIDE
from enactord.store.overrides import override_value, parse_override
from enactord.store.plans import Orders
from tests.unit.command import ctl_in
from tests.world import SCOPE, ZONE, JumpingClock, Recorder, World, fleet, plan, tolerant

NAME = sorted(fleet(1))[0]
W = 10
"""The weight of each target of these plans."""
A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
HOUR_S = 3600.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    made.clock = JumpingClock()
    yield made
    await made.close()


@pytest.fixture
def scope(world: World) -> Scope:
    limits = tolerant(capacity_removed_max_ratio=0.5)
    return Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=limits, clock=world.clock, wait_s=0.0)


def named(addresses: list[str], **others: Any) -> dict[str, Any]:
    return plan({**fleet(10), NAME: addresses}, **others)


async def publish(scope: Scope, document: Mapping[str, Any]) -> int:
    done = await operations.publish(scope, read_plan(document), Orders(author="planner"))
    assert isinstance(done, Published), done
    return done.manifest.generation


async def drain(scope: Scope, address: str = A, **how: Any) -> Overridden:
    done = await override(
        scope, Wanted(name=NAME, kind=DRAIN, address=address, lasts_s=HOUR_S), author="alice", reason="fire", **how
    )
    assert isinstance(done, Overridden), done
    return done


async def weights(scope: Scope, name: str = NAME) -> dict[str, int]:
    """Return what the newest plan holds of a name: each address, and its weight."""
    generation, _ = await scope.plans.newest()
    manifest = await scope.plans.manifest(generation)
    assert manifest is not None
    text = (await scope.plans.endpoints(manifest)).get(name, ABSENT)
    return {} if text == ABSENT else {address: weight for address, weight, *_ in json.loads(text)[1]}


async def planned(scope: Scope) -> dict[str, int]:
    """Return the same of what the planner wants."""
    generation, _ = await scope.plans.newest()
    manifest = await scope.plans.manifest(generation)
    assert manifest is not None
    text = (await scope.plans.planned(manifest)).get(NAME, ABSENT)
    return {} if text == ABSENT else {address: weight for address, weight, *_ in json.loads(text)[1]}


async def test_a_drain_is_published_at_once_and_outlives_the_next_plans(world: World, scope: Scope) -> None:
    """Whole plans and changes; what the planner adds is taken up; its end brings back what the planner wants then."""
    await world.add("e1")
    await publish(scope, named([A, B, C]))
    made = await drain(scope)
    await world.applied(2)
    assert world.servers[ZONE].serve(NAME).texts() == (B, C)
    assert await weights(scope) == {A: 0, B: W, C: W}
    await publish(scope, named([A, B, C, "192.0.2.4"]))
    assert await weights(scope) == {A: 0, B: W, C: W, "192.0.2.4": W}
    await publish(scope, plan({NAME: [A, C]}, base=3))
    assert await weights(scope) == {A: 0, C: W}
    await publish(scope, plan({sorted(fleet(10))[5]: [B]}, base=4))
    assert await weights(scope) == {A: 0, C: W}, "a change of another name leaves it"
    assert await planned(scope) == {A: W, C: W}
    done = await end_override(scope, made.override.id, author="bob", reason="over")
    assert isinstance(done, Published), done
    assert await weights(scope) == {A: W, C: W}
    await world.applied(6)
    assert world.servers[ZONE].serve(NAME).texts() == (A, C)
    acts, _ = await audit.acts(scope, limit=10)
    assert [act.deed for act in acts if act.deed.startswith("override")] == ["override end", "override"]


async def test_a_weight_and_a_second_override_work_together(scope: Scope) -> None:
    """Each is ended by itself."""
    await publish(scope, named([A, B, C]))
    first = await drain(scope)
    wanted = Wanted(name=NAME, kind=WEIGHT, address=B, weight=7, lasts_s=60.0)
    assert isinstance(await override(scope, wanted, author="alice", reason="-"), Overridden)
    assert await weights(scope) == {A: 0, B: 7, C: W}
    assert isinstance(await end_override(scope, first.override.id, author="a", reason="-"), Published)
    assert await weights(scope) == {A: W, B: 7, C: W}


async def test_a_pin_keeps_a_name_that_the_planner_changes_and_withdraws(world: World, scope: Scope) -> None:
    """Until it ends; then what the planner wants happens, a withdrawal too."""
    await world.add("e1")
    await publish(scope, named([A, B]))
    await world.applied(1)
    done = await override(scope, Wanted(name=NAME, kind=PIN, lasts_s=60.0), author="alice", reason="match")
    assert isinstance(done, Overridden), done
    await publish(scope, named([C]))
    assert await weights(scope) == {A: W, B: W}
    await publish(scope, plan({}, base=3) | {"endpoints": {NAME: {"withdraw": True}}})
    assert await weights(scope) == {A: W, B: W}
    assert not await planned(scope)
    rest = {name: addresses for name, addresses in fleet(10).items() if name != NAME}
    await publish(scope, plan(rest))
    assert await weights(scope) == {A: W, B: W}
    await end_override(scope, done.override.id, author="a", reason="-")
    assert not await weights(scope)


async def test_guards_judge_it_and_nothing_is_stored_where_they_would_hold_the_name(world: World, scope: Scope) -> None:
    """Two of three addresses go: refused; with an operator's approval it passes; never to nothing."""
    await world.add("e1")
    await publish(scope, named([A, B, C]))
    await world.applied(1)
    await drain(scope)
    wanted = Wanted(name=NAME, kind=DRAIN, address=B, lasts_s=60.0)
    await world.applied(2)
    denied = await override(scope, wanted, author="alice", reason="-")
    assert isinstance(denied, Denied)
    assert denied.refusals[0].guard == "velocity"
    assert await weights(scope) == {A: 0, B: W, C: W}
    assert len((await scope.cache()).overrides) == 1
    strict = replace(scope, limits=scope.limits.replaced(second_person=True))
    assert isinstance(await override(strict, wanted, author="alice", reason="-", approved=True), Denied)
    assert isinstance(await override(scope, wanted, author="alice", reason="-", approved=True), Overridden)
    last = Wanted(name=NAME, kind=DRAIN, address=C, lasts_s=60.0)
    denied = await override(scope, last, author="alice", reason="-", approved=True)
    assert isinstance(denied, Denied)
    assert denied.refusals[0].guard == "targets_min"


async def test_an_address_may_be_spelt_in_any_way(scope: Scope) -> None:
    """And one that begins as another does is told from it."""
    six = "2001:db8::1"
    await publish(scope, named([six, "2001:db8::10", A]))
    done = await drain(scope, "2001:0DB8:0:0::1")
    assert done.override.text() == f"drain {six}"
    assert await weights(scope) == {A: W, six: 0, "2001:db8::10": W}
    wanted = Wanted(name=NAME, kind=DRAIN, address="2001:db8::", lasts_s=60.0)
    denied = await override(scope, wanted, author="alice", reason="-")
    assert isinstance(denied, Denied)
    assert "is none of its targets" in denied.refusals[0].detail


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(name=NAME, kind=DRAIN, address="192.0.2.99", lasts_s=60.0), "is none of its targets"),
        (Wanted(name=NAME, kind=DRAIN, address="nonsense", lasts_s=60.0), "no IPv4 or IPv6 address"),
        (Wanted(name=NAME, kind=WEIGHT, address=A, weight=W, lasts_s=60.0), "has that weight already"),
        (Wanted(name=NAME, kind=WEIGHT, address=A, weight=-1, lasts_s=60.0), "weight: -1"),
        (Wanted(name=f"other.{ZONE}", kind=DRAIN, address=A, lasts_s=60.0), "is not in the newest plan"),
        (Wanted(name=f"other.{ZONE}", kind=PIN, lasts_s=60.0), "there is nothing to pin"),
        (Wanted(name=NAME, kind=DRAIN, address=A, lasts_s=LASTS_MAX_S + 1), "at most 24 hours"),
        (Wanted(name=NAME, kind=DRAIN, address=A, lasts_s=0.0), "more than 0 s"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_why(scope: Scope, wanted: Wanted, words: str) -> None:
    await publish(scope, named([A, B, C]))
    done = await override(scope, wanted, author="alice", reason="-")
    assert isinstance(done, Denied)
    assert words in str(done.refusals[0])
    assert (await scope.plans.newest())[0] == 1
    assert not (await scope.cache()).overrides


async def test_time_that_is_over_ends_it_once_among_several_enactors(world: World, scope: Scope) -> None:
    """An enactor publishes the planner's content; nobody publishes twice; the audit log has the enactor's name."""
    await publish(scope, named([A, B, C]))
    await drain(scope)
    cache = Cache(scope.keys)
    await cache.load(world.store)
    following = asyncio.ensure_future(cache.follow(world.store))
    recorder = Recorder()
    enders = [
        asyncio.ensure_future(end_expired(lambda: scope, cache, f"e{number}", recorder, apart_s=0.05))
        for number in range(3)
    ]
    try:
        await asyncio.sleep(0.3)
        assert (await scope.plans.newest())[0] == 2, "not before its time"
        assert isinstance(world.clock, JumpingClock)
        world.clock.offset_s += HOUR_S + 1
        await world.until(lambda: not cache.overrides)
        await asyncio.sleep(0.3)
        assert (await scope.plans.newest())[0] == 3
        assert await weights(scope) == {A: W, B: W, C: W}
        manifest = await scope.plans.manifest(3)
        assert manifest is not None
        assert manifest.author in ("e0", "e1", "e2")
        assert "alice had set it until" in manifest.reason
    finally:
        for task in (*enders, following):
            task.cancel()
        await asyncio.gather(*enders, following, return_exceptions=True)


async def test_an_override_that_is_over_stays_until_it_is_ended(world: World, scope: Scope) -> None:
    """A planner is under it until then: what its end takes away is not laid to the planner."""
    await publish(scope, named([A, B, C]))
    made = await drain(scope)
    assert isinstance(world.clock, JumpingClock)
    world.clock.offset_s += HOUR_S + 1
    await publish(scope, plan({sorted(fleet(10))[5]: [B]}, base=2))
    assert await weights(scope) == {A: 0, B: W, C: W}
    assert isinstance(await end_override(scope, made.override.id, author="a", reason="-"), Published)
    assert await weights(scope) == {A: W, B: W, C: W}


async def test_an_end_that_guards_refuse_holds_up_no_planner_and_passes_by_approval(scope: Scope) -> None:
    """Two pins of names that the planner withdrew: each end takes a name away, and two are more than may go at once."""
    names = sorted(fleet(9))
    await publish(scope, plan(fleet(9)))
    scope = replace(scope, limits=tolerant(endpoints_removed_max_ratio=0.12))
    world = World()
    world.store = scope.store  # type: ignore[assignment]
    await world.add("e1")
    await world.applied(1)
    begun = []
    for name in names[:2]:
        done = await override(scope, Wanted(name=name, kind=PIN, lasts_s=60.0), author="op", reason="-")
        assert isinstance(done, Overridden), done
        begun.append(done.override.id)
    await publish(scope, plan({name: fleet(9)[name] for name in names[2:]}))
    assert isinstance(await end_override(scope, begun[0], author="op", reason="-"), Published)
    refused = await end_override(scope, begun[1], author="op", reason="-")
    assert isinstance(refused, Denied)
    assert refused.refusals[0].guard == "endpoints_removed"
    await publish(scope, plan({names[5]: [A]}, base=(await scope.plans.newest())[0]))
    assert isinstance(await end_override(scope, begun[1], author="op", reason="-", approved=True), Published)
    await world.close()


async def test_an_approval_of_one_endpoint_is_of_no_other(world: World, scope: Scope) -> None:
    """A name that is held stays held, and the memory of the guards goes on."""
    await world.add("e1")
    other = sorted(fleet(10))[5]
    await publish(scope, plan({**fleet(10), NAME: [A, B, C], other: [A, B, C]}))
    await world.applied(1)
    await publish(scope, plan({**fleet(10), NAME: [A, B, C], other: [A]}))
    await world.applied(2)
    assert world.servers[ZONE].serve(other).texts() == (A, B, C)
    await drain(scope, A)
    await world.applied(3)
    wanted = Wanted(name=NAME, kind=DRAIN, address=B, lasts_s=60.0)
    done = await override(scope, wanted, author="op", reason="-", approved=True)
    assert isinstance(done, Overridden), done
    await world.applied(4)
    assert world.servers[ZONE].serve(NAME).texts() == (C,)
    assert world.servers[ZONE].serve(other).texts() == (A, B, C)
    manifest = await scope.plans.manifest(4)
    assert manifest is not None
    assert (manifest.ordered, manifest.begins_anew, manifest.approved) == (True, False, frozenset({NAME}))


async def test_what_was_ordered_and_waits_is_not_undone_by_an_end(world: World, scope: Scope) -> None:
    """A freeze, an approval, the end of an override, and the thaw: what was approved is applied."""
    await world.add("e1")
    other = sorted(fleet(10))[5]
    await publish(scope, plan({**fleet(10), NAME: [A, B, C], other: [A, B, C]}))
    made = await drain(scope)
    await world.applied(2)
    await operations.freeze(scope, mode="all", reason="-", author="op")
    shrunk = read_plan(plan({**fleet(10), NAME: [A, B, C], other: [A]}))
    assert isinstance(await operations.approve(scope, shrunk, author="op", reason="meant"), Published)
    assert isinstance(await end_override(scope, made.override.id, author="e1", reason="over"), Published)
    await operations.thaw(scope, author="op")
    await world.applied(4)
    assert world.servers[ZONE].serve(other).texts() == (A,)


async def test_a_drain_under_a_pin_is_in_force(scope: Scope, world: World) -> None:
    """A pin takes effect first: what an operator drains of it is drained."""
    await world.add("e1")
    await publish(scope, named([A, B, C]))
    await world.applied(1)
    assert isinstance(
        await override(scope, Wanted(name=NAME, kind=PIN, lasts_s=60.0), author="op", reason="-"), Overridden
    )
    await drain(scope)
    assert await weights(scope) == {A: 0, B: W, C: W}
    again = await override(scope, Wanted(name=NAME, kind=DRAIN, address=A, lasts_s=60.0), author="op", reason="twice")
    assert isinstance(again, Denied)


async def test_a_weight_whose_end_would_be_held_is_refused(scope: Scope) -> None:
    """Three of 10 to 300 of one: the end of it is a fall that the guard of capacity holds."""
    await publish(scope, named([A, B, C]))
    wanted = Wanted(name=NAME, kind=WEIGHT, address=A, weight=300, lasts_s=60.0)
    denied = await override(scope, wanted, author="op", reason="-")
    assert isinstance(denied, Denied)
    assert "give a smaller weight" in denied.refusals[0].detail


async def test_an_override_makes_nobody_the_author_of_what_a_planner_wants(scope: Scope) -> None:
    """Where a second person must approve, who published the content cannot, though an override came between."""
    strict = replace(scope, limits=scope.limits.replaced(second_person=True))
    done = await operations.publish(strict, read_plan(named([A, B, C])), Orders(author="bob"))
    assert isinstance(done, Published)
    made = await drain(strict)
    await end_override(strict, made.override.id, author="e1", reason="over")
    for generation in (2, 3):
        denied = await operations.approve(strict, generation, author="bob", reason="-")
        assert isinstance(denied, Denied)
        assert denied.refusals[0].guard == "second_person"
    assert isinstance(await operations.approve(strict, 3, author="alice", reason="-"), Published)


@pytest.mark.parametrize("ident", ["", "x y", "/"])
async def test_an_id_that_is_none_ends_nothing(scope: Scope, ident: str) -> None:
    """As of a variable that a script has not set."""
    await publish(scope, named([A, B, C]))
    assert isinstance(await end_override(scope, ident, author="op", reason="-"), Denied)
    assert (await scope.plans.newest())[0] == 1


async def test_a_rollback_brings_back_what_planners_wanted_under_the_overrides_of_now(scope: Scope) -> None:
    """A plan that was published under an override does not bring that back once it is over."""
    await publish(scope, named([A, B, C]))
    made = await drain(scope)
    await end_override(scope, made.override.id, author="a", reason="-")
    await drain(scope, B)
    done = await operations.rollback(scope, 2, author="op", reason="-")
    assert isinstance(done, Published), done
    assert await weights(scope) == {A: W, B: 0, C: W}


async def test_digests_that_a_planner_states_are_of_its_own_content(scope: Scope) -> None:
    """Of a whole plan and of changes, with an override in force; a wrong one is refused as ever."""
    await publish(scope, named([A, B, C]))
    await drain(scope)
    document = named([A, B])
    digest = content_digest(SCOPE, read_plan(document).endpoints)
    assert await publish(scope, document | {"digest": digest}) == 3
    whole = content_digest(SCOPE, read_plan(named([A, C])).endpoints)
    assert await publish(scope, plan({NAME: [A, C]}, base=3) | {"digest": whole}) == 4
    for wrong in (named([A, B]) | {"digest": "0" * 64}, plan({NAME: [A]}, base=4) | {"digest": "0" * 64}):
        done = await operations.publish(scope, read_plan(wrong), Orders())
        assert isinstance(done, Denied)
        assert done.refusals[0].guard == "digest"


async def test_a_paused_planner_is_no_obstacle(scope: Scope) -> None:
    """It is an operator's word."""
    await publish(scope, named([A, B, C]))
    await operations.pause(scope, "default", reason="-", author="op")
    made = await drain(scope)
    assert isinstance(await end_override(scope, made.override.id, author="a", reason="-"), Published)
    assert isinstance(await operations.publish(scope, read_plan(named([A])), Orders()), Denied)


async def test_publications_and_overrides_at_once_leave_none_out(scope: Scope) -> None:
    """Whatever comes first: the newest plan is under every override that is stored."""
    await publish(scope, named([A, B, C]))
    for turn in range(8):
        made, _ = await asyncio.gather(drain(scope), publish(scope, named([A, B, C, f"192.0.2.{turn + 10}"])))
        assert (await weights(scope))[A] == 0
        await asyncio.gather(
            end_override(scope, made.override.id, author="a", reason="-"),
            publish(scope, named([A, B, C, f"192.0.2.{turn + 50}"])),
        )
        assert (await weights(scope))[A] == W


async def test_a_zone_that_left_and_damage_stop_no_publication(world: World, scope: Scope) -> None:
    """A pin of a name outside is without effect; a damaged override too, and it can be ended."""
    await publish(scope, named([A, B, C]))
    pin = Override(
        id="aa",
        name="x.elsewhere.",
        kind=PIN,
        content="[5,[]]",
        author="a",
        reason="-",
        at=world.clock.now(),
        until=9e9,
    )
    pin = replace(pin, until=pin.at + 60)
    key = scope.keys.override
    await world.store.transact((), [Put(key=key("aa"), value=override_value(pin))])
    await world.store.transact((), [Put(key=key("bb"), value=OVERRIDE.value(b"{damaged"))])
    await publish(scope, named([A, B]))
    assert isinstance(await end_override(scope, "bb", author="a", reason="-"), Published)
    denied = await end_override(scope, "bb", author="a", reason="-")
    assert isinstance(denied, Denied)
    assert "override list" in denied.refusals[0].detail
    await world.store.transact((), [Put(key=key("cc"), value=b"override 9\n?")])
    newer = await operations.publish(scope, read_plan(named([A])), Orders())
    assert isinstance(newer, Denied)
    assert newer.refusals[0].guard == "format"


async def test_it_is_told_wherever_the_endpoint_is(world: World, scope: Scope) -> None:
    """In the status, with the endpoint, in a plan's document, and as news."""
    await publish(scope, named([A, B, C]))
    cache = Cache(scope.keys)
    await cache.load(world.store)
    before = glance(cache)
    made = await drain(scope)
    await cache.load(world.store)
    after = glance(cache)
    assert "overridden by alice until" in next(said["text"] for said in compare(before, after, cache))
    assert operations.status_document(cache, [ZONE], 0.0)["overrides"][0]["id"] == made.override.id
    assert made.published.document()["overridden"] == [NAME]
    assert "enactorctl override end" in made.override.note()


async def test_a_dry_run_shows_and_stores_nothing(scope: Scope) -> None:
    await publish(scope, named([A, B, C]))
    made = await drain(scope, how=How(dry_run=True))
    assert [change["name"] for change in made.published.document()["diff"]["added"]] == [NAME]
    assert (await scope.plans.newest())[0] == 1
    assert not (await scope.cache()).overrides


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_no_sequence_of_plans_and_overrides_loses_what_the_planner_wants(data: st.DataObject) -> None:
    """A model: the newest plan is the planner's content under the overrides in force, whatever came before."""
    asyncio.run(_sequence(data))


async def _sequence(data: st.DataObject) -> None:
    world = World()
    scope = Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=tolerant(), clock=world.clock, wait_s=0.0)
    names = [f"a.{ZONE}", f"b.{ZONE}"]
    wants: dict[str, tuple[str, ...]] = {names[0]: (A, B, C), names[1]: (A, B)}
    begun: dict[str, Override] = {}
    await publish(scope, plan({name: list(addresses) for name, addresses in wants.items()}))
    for _ in range(data.draw(st.integers(1, 8))):
        newest, _ = await scope.plans.newest()
        match data.draw(st.sampled_from(["whole", "changes", "begin", "end"])):
            case "whole" | "changes" as how:
                name = data.draw(st.sampled_from(names))
                wants[name] = tuple(sorted(data.draw(st.sets(st.sampled_from([A, B, C]), min_size=1))))
                some = wants if how == "whole" else {name: wants[name]}
                more = {} if how == "whole" else {"base": newest}
                await publish(scope, plan({one: list(some[one]) for one in some}, **more))
            case "begin":
                name, address = data.draw(st.sampled_from(names)), data.draw(st.sampled_from([A, B, C]))
                wanted = Wanted(
                    name=name, kind=WEIGHT, address=address, weight=data.draw(st.integers(1, 3)), lasts_s=60
                )
                done = await override(scope, wanted, author="a", reason="-", approved=True)
                if isinstance(done, Overridden):
                    begun[done.override.id] = done.override
            case "end" if begun:
                ident = data.draw(st.sampled_from(sorted(begun)))
                assert isinstance(await end_override(scope, ident, author="a", reason="-"), Published)
                del begun[ident]
        for name in names:
            assert set(await weights(scope, name)) == set(wants[name])
        manifest = await scope.plans.manifest((await scope.plans.newest())[0])
        assert manifest is not None
        own = await scope.plans.planned(manifest)
        assert own == dict(read_plan(plan({n: list(wants[n]) for n in names})).endpoints)
        held = await scope.plans.endpoints(manifest)
        order = sorted(begun.values(), key=lambda one: (one.at, one.id))
        assert held == {n: overridden(own[n], [one for one in order if one.name == n]) for n in names}


@given(st.binary(max_size=200))
def test_any_stored_bytes_are_an_override_or_none(value: bytes) -> None:
    found = parse_override(OVERRIDE.header + value, "x")
    assert found is None or (isinstance(found, Override) and not check_override(found))


def test_the_command_line(tmp_path: Any) -> None:
    """NAME stands where a verb may stand; --help shows both; bad input says what to type."""
    ctl = ctl_in(tmp_path)
    file = tmp_path / "plan.json"
    targets = [{"address": f"10.0.0.{number}", "weight": 1} for number in (1, 2, 3)]
    endpoints = {"api.example.test.": {"ttl_s": 30, "targets": targets}}
    file.write_text(json.dumps({"schema": "enactord.plan/v1", "scope": "test", "endpoints": endpoints}))
    ctl("publish", str(file), "--confirm-within", "0")
    now = ("--reason", "fire", "--confirm-within", "0")
    assert "--drain" in ctl("override", "set", "--help")
    assert "override list" in ctl("override", "--help")
    assert "no endpoint is overridden" in ctl("override", "list")
    assert "give one of" in ctl("override", "api.example.test", "--for", "1h", *now, code=2)
    assert "is no span" in ctl("override", "api.example.test", "--pin", "--for", "soon", *now, code=2)
    assert "from 1s to 24h" in ctl("override", "api.example.test", "--pin", "--for", "25h", *now, code=2)
    assert "ADDRESS=N" in ctl("override", "api.example.test", "--weight", "5", "--for", "1h", *now, code=2)
    assert "none of its targets" in ctl(
        "override", "api.example.test", "--drain", "10.9.9.9", "--for", "1h", *now, code=1
    )
    said = ctl("override", "api.example.test", "--drain", "10.0.0.1", "--for", "1h", *now)
    assert "published generation 2" in said
    ident = json.loads(ctl("override", "list", "--json"))["overrides"][0]["id"]
    assert f"enactorctl override end {ident}" in said
    assert "is OVERRIDDEN" in ctl("status")
    assert "drain 10.0.0.1" in ctl("override", "list")
    found = json.loads(ctl("override", "api.example.test", "--weight", "10.0.0.2=2", "--for", "90s", *now, "--json"))
    assert found["override"]["what"] == "weight 10.0.0.2=2"
    assert "published generation 4" in ctl("override", "end", ident, "--confirm-within", "0")
    assert "override list" in ctl("override", "end", ident, code=1)
