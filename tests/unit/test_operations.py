"""Operations on a scope, over a scope in memory with one enactor: judged early, refused with reasons."""

import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from enactord.core.kv import Put
from enactord.core.plan import Draft, read_plan
from enactord.core.records import Change, Committed, Records, Served, Transaction
from enactord.operations import acts as operations
from enactord.operations.acts import Adopted, Denied, How, Published, Scope
from enactord.operations.news import news
from enactord.store.cache import Cache
from enactord.store.layout import CHUNK, PLAN, Kind
from enactord.store.plans import Orders
from planner_stub.fleet import Fleet
from planner_stub.names import FIRST_NAME, choose_names
from planner_stub.planning import Planner
from tests.world import SCOPE, ZONE, World, fleet, plan, tolerant

LIMITS = tolerant()


def draft(endpoints: dict[str, list[str]], **changes: Any) -> Draft:
    return read_plan(plan(endpoints, **changes))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.add("e1")
    yield world
    await world.close()


@pytest.fixture
def scope(world: World) -> Scope:
    return Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=LIMITS, clock=world.clock)


async def applied(world: World, scope: Scope, endpoints: dict[str, list[str]]) -> int:
    done = await operations.publish(scope, draft(endpoints), Orders())
    assert isinstance(done, Published), done
    await world.applied(done.manifest.generation)
    return done.manifest.generation


async def test_publish_gives_generation_and_counts(world: World, scope: Scope) -> None:
    """A publication says what it changes of what is applied."""
    assert await applied(world, scope, fleet(10)) == 1
    changed = fleet(10) | {f"n00003.{ZONE}": ["10.9.9.9", "10.9.9.8"], f"new.{ZONE}": ["10.9.9.7"]}
    del changed[f"n00004.{ZONE}"]
    done = await operations.publish(scope, draft(changed), Orders(author="me"))
    assert isinstance(done, Published)
    assert done.manifest.generation == 2
    assert done.counts == {"added": 1, "changed": 1, "removed": 1, "held": 0}


async def test_publish_dry_run_stores_nothing(world: World, scope: Scope) -> None:
    """A dry run leaves the store as it is, byte for byte, and shows the diff."""
    await applied(world, scope, fleet(10))
    before = await world.store.range("/", "0")
    done = await operations.publish(scope, draft(fleet(9)), Orders(), how=How(dry_run=True))
    assert isinstance(done, Published)
    assert done.dry_run
    assert [change["name"] for change in done.document()["diff"]["removed"]] == [f"n00009.{ZONE}"]
    after = await world.store.range("/", "0")
    assert [i for i in after.items if "/plans/" in i.key] == [i for i in before.items if "/plans/" in i.key]
    assert [i for i in after.items if "/chunks/" in i.key] == [i for i in before.items if "/chunks/" in i.key]
    assert (await scope.plans.newest())[0] == 1


async def test_publish_dry_run_is_refused_as_the_real_one(world: World, scope: Scope) -> None:
    """What publication would refuse, its rehearsal refuses too."""
    await applied(world, scope, fleet(10))
    for wrong in (
        draft(fleet(10), scope="other"),
        draft(fleet(10), generation=1),
        draft(fleet(1), base=7),
        draft(fleet(10), digest="0" * 64),
    ):
        rehearsed = await operations.publish(scope, wrong, Orders(), how=How(dry_run=True))
        real = await operations.publish(scope, wrong, Orders())
        assert isinstance(real, Denied)
        assert rehearsed == real


@pytest.mark.parametrize("dry_run", [False, True])
async def test_publish_tells_each_refusal_once(scope: Scope, dry_run: bool) -> None:
    """Whoever finds it first: what judges early and what stores say the same of names outside the zones."""
    done = await operations.publish(scope, draft({"www.else.where.": ["10.0.0.1"]}), Orders(), how=How(dry_run=dry_run))
    assert isinstance(done, Denied)
    assert [refusal.guard for refusal in done.refusals] == ["zone"]


async def test_publish_lists_every_refusal_and_stores_nothing(world: World, scope: Scope) -> None:
    """Scope, zone and removal guards are all named at once; the fix is named where there is one."""
    await applied(world, scope, fleet(10))
    done = await operations.publish(scope, draft({"www.else.where.": ["10.0.0.1"]}, scope="other"), Orders())
    assert isinstance(done, Denied)
    assert [refusal.guard for refusal in done.refusals] == ["scope", "zone", "endpoints_removed"]
    assert "--approve" in done.refusals[2].detail
    assert await scope.plans.generations() == [1]


async def test_publish_of_changes_judges_withdrawals_alone(world: World, scope: Scope) -> None:
    """A plan with `base` removes what it withdraws, not what it leaves out."""
    base = await applied(world, scope, fleet(10))
    some = {f"n00000.{ZONE}": ["10.9.0.1", "10.9.0.2"]}
    changes = await operations.publish(scope, draft(some, base=base), Orders())
    assert isinstance(changes, Published)
    assert changes.counts == {"added": 0, "changed": 1, "removed": 0, "held": 0}
    document = plan({}, base=2)
    document["endpoints"] |= {f"n{number:05d}.{ZONE}": {"withdraw": True} for number in range(5)}
    refused = await operations.publish(scope, read_plan(document), Orders())
    assert isinstance(refused, Denied)
    assert refused.refusals[0].guard == "endpoints_removed"


async def test_publish_reports_what_will_be_held(world: World, scope: Scope) -> None:
    """An endpoint that a guard refuses does not block a plan; it is named, with the guard."""
    await applied(world, scope, fleet(10))
    done = await operations.publish(scope, draft(fleet(10) | {f"n00002.{ZONE}": []}), Orders())
    assert isinstance(done, Published)
    assert [(held.name, held.refusal.guard) for held in done.held] == [(f"n00002.{ZONE}", "targets_min")]
    await world.until(lambda: world.members["e1"].enactor.cache.ledger.totals.held == 1)


async def test_approve_passes_the_removal_guard(world: World, scope: Scope) -> None:
    """An approval of a refused draft is published, applied, and keeps who said so and why."""
    await applied(world, scope, fleet(10))
    shrunk = draft(fleet(2))
    assert isinstance(await operations.publish(scope, shrunk, Orders()), Denied)
    done = await operations.approve(scope, shrunk, author="op", reason="moved away")
    assert isinstance(done, Published)
    approval = done.manifest.approval
    assert approval is not None
    assert (approval.author, approval.reason) == ("op", "moved away")
    await world.applied(done.manifest.generation)
    assert world.serves(fleet(2))


async def test_approve_by_file_means_that_stored_plan(world: World, scope: Scope) -> None:
    """A draft with a stored generation must be that plan, digest for digest."""
    generation = await applied(world, scope, fleet(10))
    same = await operations.approve(scope, draft(fleet(10), generation=generation), author="op", reason="why")
    assert isinstance(same, Published)
    assert same.manifest.approval is not None
    assert same.manifest.approval.of == generation
    assert same.manifest.generation == generation + 1
    other = await operations.approve(scope, draft(fleet(9), generation=generation), author="op", reason="why")
    assert isinstance(other, Denied)
    assert other.refusals[0].guard == "digest"


async def test_approve_by_file_of_changes_compares_the_whole(world: World, scope: Scope) -> None:
    """A file with `base` means base's content with its changes."""
    base = await applied(world, scope, fleet(10))
    some = {f"n00000.{ZONE}": ["10.9.0.1", "10.9.0.2"]}
    changed = await operations.publish(scope, draft(some, base=base), Orders())
    assert isinstance(changed, Published)
    again = draft(some, base=base, generation=changed.manifest.generation)
    done = await operations.approve(scope, again, author="op", reason="why")
    assert isinstance(done, Published)
    assert done.manifest.digest == changed.manifest.digest


async def test_rollback_brings_back_content_as_a_new_generation(world: World, scope: Scope) -> None:
    """A rollback has the old digest and a new generation, is judged, and says what it is."""
    first = await applied(world, scope, fleet(10))
    await applied(world, scope, fleet(10, 2))
    done = await operations.rollback(scope, first, author="op", reason="wrong")
    assert isinstance(done, Published)
    assert (done.manifest.generation, done.manifest.rollback_of) == (3, first)
    await world.applied(3)
    assert world.serves(fleet(10))
    missing = await operations.rollback(scope, 99, author="op", reason="wrong")
    assert isinstance(missing, Denied)


async def test_an_approval_needs_somebody_else_where_the_limits_say_so(world: World, scope: Scope) -> None:
    """Of a stored plan and of a draft; a plan whose author nobody knows is nobody else's. A rollback is free."""
    careful = replace(scope, limits=tolerant(second_person=True))
    assert isinstance(await operations.publish(careful, draft(fleet(10)), Orders(author="alice")), Published)
    unknown = replace(draft(fleet(10, 2)), author="")
    for what, author in ((1, "alice"), (unknown, "alice"), (draft(fleet(10, 2)), "test")):
        denied = await operations.approve(careful, what, author=author, reason="meant")
        assert isinstance(denied, Denied), what
        assert denied.refusals[0].guard == "second_person"
    assert (await scope.cache()).head == 1
    for what in (1, draft(fleet(10, 2))):
        assert isinstance(await operations.approve(careful, what, author="bob", reason="meant"), Published)
    assert isinstance(await operations.rollback(careful, 2, author="bob", reason="was better"), Published)
    assert isinstance(await operations.approve(scope, 1, author="alice", reason="alone"), Published)


async def test_freeze_warns_publishers_and_thaw_tells_who_froze(world: World, scope: Scope) -> None:
    """A publication into a frozen scope is stored, with a warning."""
    await operations.freeze(scope, mode="all", reason="look", author="op")
    done = await operations.publish(scope, draft(fleet(3)), Orders())
    assert isinstance(done, Published)
    assert any("frozen" in warning for warning in done.warnings)
    before = await operations.thaw(scope, author="op")
    assert before is not None
    assert before.reason == "look"
    assert await operations.thaw(scope, author="op") is None


async def test_status_and_documents_are_json(world: World, scope: Scope) -> None:
    """Every document is plain JSON, and shows plan, fence and endpoints."""
    await applied(world, scope, fleet(10))
    cache = await scope.cache()
    status = operations.status_document(cache, scope.zones, scope.clock.now())
    assert status["head"] == 1
    assert status["zones"] == [
        {
            "zone": ZONE,
            "fence": 1,
            "txt": 1,
            "primary": "",
            "plan": status["zones"][0]["plan"],
            "applied": 1,
            "state": "unknown",
            "endpoints": {"total": 10, "pending": 0, "held": 0, "unseen": 0},
        }
    ]
    assert status["endpoints"]["applied"] == 10
    assert [enactor["id"] for enactor in status["enactors"]] == ["e1"]
    entries = operations.find_entries(cache)
    history = await operations.history_document(cache, scope.plans, f"n00001.{ZONE}", scope.zones)
    assert [change["generation"] for change in history["plans"]] == [1]
    documents = [status, operations.plans_document(cache), history]
    documents += [operations.endpoint_document(entry, scope.zones) for entry in entries.values()]
    for document in documents:
        json.dumps(document)


async def test_history_shows_only_where_it_changed(world: World, scope: Scope) -> None:
    """Plans that say the same of a name are one line; a removal is a line of its own."""
    name = f"n00001.{ZONE}"
    await applied(world, scope, fleet(10))
    await applied(world, scope, fleet(10) | {f"n00002.{ZONE}": ["10.7.0.1", "10.7.0.2"]})
    without = fleet(10)
    del without[name]
    await applied(world, scope, without)
    history = await operations.history_document(await scope.cache(), scope.plans, name, scope.zones)
    assert [(change["generation"], change["content"] is None) for change in history["plans"]] == [(3, True), (1, False)]
    assert history["ledger"] is None


async def test_verify_finds_emptied_and_drifted_names_and_repair_puts_them_back(world: World, scope: Scope) -> None:
    """A name that is served empty or otherwise is found; the repairer puts it back under the fence."""
    await applied(world, scope, fleet(10))
    await world.stop("e1")
    server = world.servers[ZONE]
    await foreign(world, f"n00001.{ZONE}", ())
    await foreign(world, f"n00002.{ZONE}", (bytes((10, 66, 66, 66)),))
    member = await world.add("e2")
    ports = member.enactor.ports.zones
    await world.stop("e2")
    servers = {ZONE: [("memory", ports[ZONE].verifiers[0].bulk)]}
    found = await operations.verify(scope, servers)
    assert [(finding.name, finding.wrong) for finding in found.findings] == [
        (f"n00001.{ZONE}", "empty"),
        (f"n00002.{ZONE}", "drifted"),
    ]
    looks = await operations.repair(scope, ports, member.enactor.settings, author="op")
    assert looks[0].repaired == (f"n00001.{ZONE}", f"n00002.{ZONE}")
    assert (await operations.verify(scope, servers)).sound
    assert server.serve(f"n00001.{ZONE}").records.texts() == tuple(sorted(fleet(10)[f"n00001.{ZONE}"]))


async def foreign(world: World, name: str, a: tuple[bytes, ...], ttl_s: int = 5) -> None:
    """Write records past every enactor, under the fence as it stands."""
    from enactord.backends.memory import MemoryZone

    zone = MemoryZone(world.servers[ZONE])
    after = Records(ttl_s=ttl_s if a else 0, a=a, aaaa=())
    transaction = Transaction(fence_seen=await zone.read_fence(), changes=[Change(name=name, after=after)])
    assert isinstance(await zone.write(transaction), Committed)


class Answers:
    """A reader with fixed answers."""

    def __init__(self, served: dict[str, Served]) -> None:
        self._served = served

    async def read(self, names: Any) -> dict[str, Served]:
        return {name: self._served[name] for name in names if name in self._served}


def there(*last: int) -> Served:
    return Served(records=Records(ttl_s=30, a=tuple(bytes((10, 0, 0, n)) for n in last), aaaa=()))


async def test_adopt_makes_a_held_name_the_ledgers(world: World, scope: Scope) -> None:
    """A planned name that somebody else's records occupy is held; adopted, it follows the plan."""
    name = f"n00001.{ZONE}"
    await foreign(world, name, (bytes((10, 1, 1, 1)), bytes((10, 1, 1, 2))), ttl_s=30)
    await operations.publish(scope, draft(fleet(3)), Orders())
    await world.until(lambda: world.members["e1"].enactor.cache.ledger.totals.held == 1)
    zones = {ZONE: (world.members["e1"].zones[ZONE], 16)}
    done = await operations.adopt(scope, [name], zones, author="op")
    assert isinstance(done, Adopted)
    await world.applied(1)
    await world.until(lambda: world.serves(fleet(3)))


async def test_adopt_refuses_what_it_must(world: World, scope: Scope) -> None:
    """Outside a zone, owned, CNAME, nothing there, not in the newest plan: each is refused, with its reason."""
    reader = Answers(
        {
            f"alias.{ZONE}": Served(records=Records(ttl_s=0, a=(), aaaa=()), alias="else.where."),
            f"nothing.{ZONE}": Served(records=Records(ttl_s=0, a=(), aaaa=())),
            f"there.{ZONE}": there(1, 2),
        }
    )
    zones = {ZONE: (reader, 16)}

    async def guards(*names: str) -> list[str]:
        done = await operations.adopt(scope, names, zones, author="op")
        assert isinstance(done, Denied), done
        return [refusal.guard for refusal in done.refusals]

    assert await guards(f"alias.{ZONE}", f"nothing.{ZONE}", f"silent.{ZONE}") == ["alias", "nothing", "silent"]
    assert await guards("www.else.where.") == ["zone"]
    await applied(world, scope, fleet(3))
    assert await guards(f"n00001.{ZONE}", f"there.{ZONE}") == ["owned", "unplanned"]
    await operations.freeze(scope, mode="all", reason="look", author="op")
    assert "frozen" in await guards(f"there.{ZONE}")


async def test_adopt_before_the_first_plan_enters_records_as_they_are(world: World, scope: Scope) -> None:
    """Without any plan, names can be adopted; more addresses than `answers_max` stay as they are served."""
    served = there(*range(1, 21))
    done = await operations.adopt(
        scope, [f"there.{ZONE}"], {ZONE: (Answers({f"there.{ZONE}": served}), 16)}, author="op"
    )
    assert isinstance(done, Adopted)
    entry = operations.find_entries(await scope.cache())[f"there.{ZONE}"]
    assert entry.applied is not None
    assert entry.applied == entry.good
    assert entry.applied.generation == 0
    assert entry.applied.records(entry.name) == served.records


async def test_news_tells_what_changed(world: World, scope: Scope) -> None:
    """Publication, open, settle, hold and freeze each are one event, in order."""
    cache = await scope.cache()
    await operations.publish(scope, draft(fleet(3) | {f"n00002.{ZONE}": []}), Orders(author="me"))
    await world.until(lambda: world.members["e1"].enactor.cache.ledger.totals.held == 1)
    await world.applied(1)
    await operations.freeze(scope, mode="all", reason="look", author="op")
    await operations.thaw(scope, author="op")
    seen: list[str] = []
    async for changes in scope.store.watch(scope.keys.root, start_revision=cache.revision + 1):
        seen += [event["event"] for event in news(cache, changes)]
        cache.apply(changes)
        if seen and seen[-1] == "thawed":
            break
    told = [event for event in seen if not event.startswith("enactor.")]
    assert told[:2] == ["plan.published", "fence.opened"]
    assert {"endpoint.held", "plan.applied"} <= set(told)
    assert told[-2:] == ["frozen", "thawed"]


async def planner(scope: Scope, count: int, lines: list[tuple[str, dict[str, object]]], churn: float = 0.1) -> Planner:
    def say(event: str, **facts: object) -> None:
        lines.append((event, facts))

    chosen = Fleet(choose_names(count, zones=["amazonaws.com."]), 1)
    return Planner(scope, chosen, author="stub", churn=churn, rng=random.Random(1), say=say)


async def test_planner_publishes_whole_then_changes_and_syncs_again(world: World, scope: Scope) -> None:
    """The first plan is whole, the next ones are changes; another's plan in between makes it look anew."""
    aws = Scope(store=scope.store, name=SCOPE, zones=["amazonaws.com."], limits=LIMITS, clock=world.clock)
    lines: list[tuple[str, dict[str, object]]] = []
    stub = await planner(aws, 30, lines)
    await stub.run(interval_s=0.0, rounds=3)
    assert [event for event, _ in lines] == ["plan.published"] * 3
    assert [facts["changed"] for _, facts in lines] == [30, 3, 3]
    other = await aws.plans.manifest(3)
    assert other is not None
    await operations.rollback(aws, 1, author="op", reason="in between", pause=False)
    await stub.run(interval_s=0.0, rounds=1)
    assert [event for event, _ in lines[3:]] == ["plan.refused", "plan.published"]
    newest, _ = await aws.plans.newest()
    manifest = await aws.plans.manifest(newest)
    assert manifest is not None
    assert FIRST_NAME in await aws.plans.endpoints(manifest)


@pytest.mark.parametrize("kind", [CHUNK, PLAN])
async def test_planner_publishes_whole_where_the_newest_plan_cannot_be_read(
    world: World, scope: Scope, kind: Kind
) -> None:
    """Changes of such a plan are refused; the whole content needs nothing of it."""
    aws = Scope(store=scope.store, name=SCOPE, zones=["amazonaws.com."], limits=LIMITS, clock=world.clock)
    lines: list[tuple[str, dict[str, object]]] = []
    stub = await planner(aws, 30, lines)
    await stub.run(interval_s=0.0, rounds=2)
    for item in (await aws.store.range(*aws.keys.bounds(kind))).items:
        await aws.store.transact((), (Put(key=item.key, value=kind.value(b"garbage")),))
    await stub.run(interval_s=0.0, rounds=1)
    newest, _ = await aws.plans.newest()
    manifest = await aws.plans.manifest(newest)
    assert manifest is not None
    assert len(await aws.plans.endpoints(manifest)) == 30


async def test_planner_goes_on_when_the_store_was_away(world: World, scope: Scope) -> None:
    """With the store away it tries again, and publishes when it is back."""
    from tests.world import Cuttable

    store = Cuttable(world.store)
    store.cut()
    aws = Scope(store=store, name=SCOPE, zones=["amazonaws.com."], limits=LIMITS, clock=world.clock)
    lines: list[tuple[str, dict[str, object]]] = []

    class Mending(list[tuple[str, dict[str, object]]]):
        def append(self, line: tuple[str, dict[str, object]]) -> None:
            super().append(line)
            if len(self) == 2:
                store.mend()

    lines = Mending()
    await (await planner(aws, 5, lines)).run(interval_s=0.0, rounds=1)
    assert [event for event, _ in lines] == ["store.down", "store.down", "plan.published"]


async def test_status_says_what_cannot_be_read(scope: Scope) -> None:
    """A damaged manifest is listed as unreadable; it does not break the list."""
    await scope.store.transact((), (Put(key=scope.keys.plan(7), value=b"garbage"),))
    cache: Cache = await scope.cache()
    assert "unreadable" in operations.plans_document(cache)[0]


async def test_a_publisher_can_refuse_what_would_be_held(world: World, scope: Scope) -> None:
    await applied(world, scope, fleet(30))
    before = await world.store.range("/", "0")
    empty = fleet(30) | {f"n{number:05d}.{ZONE}": [] for number in range(25)}
    refused = await operations.publish(scope, draft(empty), Orders(), how=How(fail_on_held=True))
    assert isinstance(refused, Denied)
    assert (await world.store.range("/", "0")).items == before.items
    assert [refusal.guard for refusal in refused.refusals] == ["targets_min"] * 20 + ["held"]
    assert refused.refusals[0].detail.startswith(f"n00000.{ZONE}: 0 usable addresses")
    assert refused.refusals[-1].detail == "5 more would be held"
    done = await operations.publish(scope, draft(fleet(30, 2)), Orders(), how=How(fail_on_held=True))
    assert isinstance(done, Published)
    assert done.held == ()
