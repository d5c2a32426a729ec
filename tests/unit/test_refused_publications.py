"""What guards refuse of a planner is kept by its digest; an operator sees what it would change, and approves it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enactord.core.contribution import (
    Contribution,
    contents_of,
    contribution_digest,
    is_handle,
    mark_of,
    pack_contribution,
    unpack_contribution,
)
from enactord.core.errors import PlanUnreadable, StoreRefused
from enactord.core.kv import Put
from enactord.core.plan import read_plan
from enactord.core.refusal import Refusal
from enactord.operations import acts as operations
from enactord.operations import audit
from enactord.operations.acts import Denied, How, Published, Scope, diff_plans
from enactord.operations.news import compare, glance
from enactord.operations.refused import contrast, find
from enactord.store.cache import Cache
from enactord.store.layout import CHUNK, CONTRIBUTION
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
    limits = tolerant(endpoints_removed_max_ratio=0.2)
    return Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=limits, clock=world.clock, wait_s=0.0)


async def publish(scope: Scope, document: Mapping[str, Any], **orders: Any) -> Published | Denied:
    return await operations.publish(scope, read_plan(document), Orders(**orders))


async def refused(scope: Scope, document: Mapping[str, Any], **orders: Any) -> Contribution:
    """Publish what guards refuse; returns what is kept of it."""
    done = await publish(scope, document, **orders)
    assert isinstance(done, Denied), done
    assert done.kept, done
    kept = await find(scope.contributions, mark_of(done.kept))
    assert isinstance(kept, Contribution)
    return kept


async def content(scope: Scope) -> dict[str, str]:
    generation, _ = await scope.plans.newest()
    manifest = await scope.plans.manifest(generation)
    assert manifest is not None
    return await scope.plans.endpoints(manifest)


def without(*names: str) -> dict[str, Any]:
    """Changes that withdraw names."""
    return {name: {"withdraw": True} for name in names}


async def test_a_whole_plan_that_guards_refuse_is_kept_and_approved_as_it_is(scope: Scope) -> None:
    """It gets no generation; its diff is against the newest plan; approved, exactly it is published, once."""
    await publish(scope, plan(fleet(10)))
    kept = await refused(scope, plan(fleet(4)), author="planner-1", reason="x")
    assert (kept.planner, kept.author, kept.whole) == ("default", "planner-1", True)
    assert (kept.names, kept.times, kept.newest) == (4, 1, 1)
    assert kept.refusals[0].guard == "endpoints_removed"
    assert (await scope.plans.newest())[0] == 1
    newest = await scope.plans.manifest(1)
    found = diff_plans(*vars_of(await contrast(scope.plans.texts, newest, kept)))
    assert [change["name"] for change in found["removed"]] == sorted(fleet(10))[4:]
    assert not found["added"]
    assert not found["changed"]
    done = await operations.approve_refused(scope, kept.mark, author="alice", reason="region closed")
    assert isinstance(done, Published), done
    assert sorted(await content(scope)) == sorted(fleet(4))
    manifest = await scope.plans.manifest(2)
    assert manifest is not None
    assert manifest.approval is not None
    assert (manifest.approval.author, manifest.approval.digest) == ("alice", kept.digest)
    acts, _ = await audit.acts(scope, limit=1)
    assert acts[0].facts["of"] == kept.mark
    again = await operations.approve_refused(scope, kept.mark, author="alice", reason="region closed")
    assert isinstance(again, Denied)
    assert "enactorctl refused" in again.refusals[0].detail


def vars_of(found: Any) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return found.before, found.after


async def test_changes_that_guards_refuse_are_merged_onto_the_newest_plan(scope: Scope) -> None:
    """What was published meanwhile stays; a name that is gone already is no error."""
    names = sorted(fleet(10))
    await publish(scope, plan(fleet(10)))
    changes = plan({}, base=1) | {"endpoints": without(*names[:5])}
    kept = await refused(scope, changes)
    assert not kept.whole
    other = {name: addresses for name, addresses in fleet(10).items() if name != names[0]}
    other[f"new.{ZONE}"] = ["192.0.2.7"]
    assert isinstance(await operations.approve(scope, read_plan(plan(other)), author="op", reason="-"), Published)
    found = await contrast(scope.plans.texts, await scope.plans.manifest(2), kept)
    assert sorted(found.before) == names[1:5]
    assert not found.after
    done = await operations.approve_refused(scope, kept.digest, author="alice", reason="-")
    assert isinstance(done, Published), done
    assert sorted(await content(scope)) == sorted([*names[5:], f"new.{ZONE}"])


async def test_an_approved_whole_plan_says_which_later_plans_it_supersedes(scope: Scope) -> None:
    """Plans that others published after the refusal lose their content: the approver is told."""
    await publish(scope, plan(fleet(10)))
    kept = await refused(scope, plan(fleet(4)))
    await operations.approve(scope, read_plan(plan(fleet(10, 2))), author="op", reason="-")
    done = await operations.approve_refused(scope, kept.mark, author="alice", reason="-", how=How(dry_run=True))
    assert isinstance(done, Published)
    assert any("plans after 1, up to 2, are superseded" in warning for warning in done.warnings)
    assert (await scope.plans.newest())[0] == 2
    assert await scope.contributions.stored(), "a dry run settles nothing"


async def test_the_last_is_kept_and_counts_how_often(world: World, scope: Scope) -> None:
    """The same again counts; another takes its place; what passes ends it; a rollback does not."""
    await publish(scope, plan(fleet(10)))
    first = await refused(scope, plan(fleet(4)))
    again = await refused(scope, plan(fleet(4)))
    assert (again.digest, again.times, again.first_at) == (first.digest, 2, first.first_at)
    other = await refused(scope, plan(fleet(3)))
    assert (other.digest != first.digest, other.times) == (True, 1)
    assert [kept.digest for kept in await scope.contributions.stored()] == [other.digest]
    await publish(scope, plan(fleet(10, 2)))
    assert not await scope.contributions.stored()
    kept = await refused(scope, plan(fleet(4)))
    await operations.rollback(scope, 1, author="op", reason="-")
    assert [one.digest for one in await scope.contributions.stored()] == [kept.digest]


async def test_what_no_approval_lets_pass_is_not_kept(scope: Scope) -> None:
    """A base that is gone, a name outside, a paused planner, a dry run, an operator's own word."""
    await publish(scope, plan(fleet(10)))
    wrong = [
        (plan(fleet(4), scope="other"), How()),
        (plan({**fleet(4), "x.elsewhere.": ["192.0.2.1"]}), How()),
        (plan(fleet(4), generation=1), How()),
        (plan(fleet(4)), How(dry_run=True)),
    ]
    for document, how in wrong:
        done = await operations.publish(scope, read_plan(document), Orders(), how=how)
        assert isinstance(done, Denied)
        assert not done.kept
    await operations.pause(scope, "default", reason="-", author="op")
    done = await publish(scope, plan(fleet(10, 2)))
    assert isinstance(done, Denied)
    assert not done.kept
    assert not await scope.contributions.stored()


async def test_a_second_person_is_asked_for_where_the_limits_say_so(scope: Scope) -> None:
    """Who published it cannot approve it."""
    scope = replace(scope, limits=tolerant(endpoints_removed_max_ratio=0.2, second_person=True))
    await publish(scope, plan(fleet(10)))
    kept = await refused(scope, plan(fleet(4)), author="bob")
    denied = await operations.approve_refused(scope, kept.mark, author="bob", reason="-")
    assert isinstance(denied, Denied)
    assert denied.refusals[0].guard == "second_person"
    assert isinstance(await operations.approve_refused(scope, kept.mark, author="alice", reason="-"), Published)


async def test_prune_leaves_its_chunks_and_takes_them_once_it_is_settled(world: World, scope: Scope) -> None:
    """Chunks that only a refused publication names stay while it is kept, and go with it."""
    await publish(scope, plan(fleet(10)))
    kept = await refused(scope, plan(fleet(4, 2)))
    own = set(kept.digests())

    async def stored() -> set[str]:
        page = await world.store.range(*scope.keys.bounds(CHUNK))
        return {scope.keys.split(item.key)[1] for item in page.items}

    assert own <= await stored()
    assert await scope.plans.sweep() == 0
    assert own <= await stored()
    for turn in range(3, 6):
        await publish(scope, plan(fleet(10, turn)))
        kept = await refused(scope, plan(fleet(4, 2)))
    assert own == set(kept.digests())
    await publish(scope, plan(fleet(10, 9)))
    assert not own & await stored()


async def test_a_sweep_and_a_refusal_at_once_leave_what_is_kept_readable(world: World, scope: Scope) -> None:
    """Whichever comes first in the store: what is kept can be read, or it is not kept."""
    await publish(scope, plan(fleet(10)))
    for turn in range(20):
        await asyncio.gather(publish(scope, plan(fleet(4, turn))), scope.plans.sweep(), scope.plans.sweep())
        for kept in await scope.contributions.stored():
            assert len(await scope.contributions.contents(kept)) == 4


async def test_a_store_that_does_not_take_it_leaves_the_refusal_as_it_is(world: World, scope: Scope) -> None:
    """A store without room: the publication is refused for its content, and is not kept."""
    await publish(scope, plan(fleet(10)))

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        async def transact(self, *_: Any) -> Any:
            raise StoreRefused("no room")

    done = await publish(replace(scope, store=Full()), plan(fleet(4)))
    assert isinstance(done, Denied)
    assert done.refusals[0].guard == "endpoints_removed"
    assert not done.kept


@pytest.mark.parametrize("damaged", ["head", "plan"])
async def test_changes_are_not_approved_where_the_newest_plan_cannot_be_read(
    world: World, scope: Scope, damaged: str
) -> None:
    """They alone would be the whole plan: all other names would go."""
    await publish(scope, plan(fleet(10)))
    kept = await refused(scope, plan({}, base=1) | {"endpoints": without(*sorted(fleet(10))[:5])})
    key = scope.keys.head if damaged == "head" else scope.keys.plan(1)
    await world.store.transact((), [Put(key=key, value=b"garbage")])
    denied = await operations.approve_refused(scope, kept.mark, author="op", reason="-")
    assert isinstance(denied, Denied)
    assert "cannot be read" in denied.refusals[0].detail
    with pytest.raises(PlanUnreadable, match="cannot be read"):
        await contrast(scope.plans.texts, None, kept)


async def test_an_approval_by_file_of_what_was_refused_settles_it(scope: Scope) -> None:
    """It is the same content: nothing is refused any more."""
    await publish(scope, plan(fleet(10)))
    await refused(scope, plan(fleet(4)))
    assert isinstance(await operations.approve(scope, read_plan(plan(fleet(4))), author="op", reason="-"), Published)
    assert not await scope.contributions.stored()


async def test_a_planner_that_is_refused_again_and_again_fills_no_store(world: World, scope: Scope) -> None:
    """The chunks of what was refused before go with it."""
    await publish(scope, plan(fleet(10)))
    counts = []
    for turn in range(12):
        await refused(scope, plan(fleet(4, turn)))
        counts.append(len((await world.store.range(*scope.keys.bounds(CHUNK))).items))
    assert max(counts) <= counts[0] + 1, counts


async def test_a_damaged_one_is_no_obstacle_and_a_newer_ones_stays(world: World, scope: Scope) -> None:
    """Damage is replaced by the next refusal, or goes with the next plan; another version's is left alone."""
    await publish(scope, plan(fleet(10)))
    key = scope.keys.contribution("default")
    await world.store.transact((), [Put(key=key, value=CONTRIBUTION.value(b"garbage"))])
    assert not await scope.contributions.stored()
    assert (await refused(scope, plan(fleet(4)))).times == 1
    await world.store.transact((), [Put(key=key, value=CONTRIBUTION.value(b"garbage"))])
    assert isinstance(await publish(scope, plan(fleet(10, 2))), Published)
    assert key not in await world.store.get([key])
    newer = b"contribution 9\n" + b"?"
    await world.store.transact((), [Put(key=key, value=newer)])
    done = await publish(scope, plan(fleet(4)))
    assert isinstance(done, Denied)
    assert not done.kept
    assert isinstance(await publish(scope, plan(fleet(10, 3))), Published)
    assert (await world.store.get([key]))[key].value == newer


async def test_what_stands_there_must_be_what_the_digest_says(world: World, scope: Scope) -> None:
    """A record whose chunks are another content is not approved."""
    await publish(scope, plan(fleet(10)))
    kept = await refused(scope, plan(fleet(4)))
    await scope.plans.publish(read_plan(plan(fleet(3))), Orders(reason="-"))
    other = await scope.plans.manifest(2)
    assert other is not None
    false = CONTRIBUTION.value(pack_contribution(replace(kept, zones=other.zones)))
    await world.store.transact((), [Put(key=scope.keys.contribution("default"), value=false)])
    with pytest.raises(PlanUnreadable, match="does not match its digest"):
        await operations.approve_refused(scope, kept.mark, author="op", reason="-")


def test_digests_tell_whole_plans_from_changes_and_marks_from_generations() -> None:
    """The digest of a whole plan is the one that its planner may state; a mark is never a mere number."""
    draft = read_plan(plan(fleet(3)))
    contents = contents_of(draft)
    whole = contribution_digest(SCOPE, contents, whole=True)
    assert whole != contribution_digest(SCOPE, contents, whole=False)
    assert read_plan(plan(fleet(3), digest=whole)).digest == whole
    digits = "1234567890" * 2 + "1f" + "0" * 42
    assert mark_of(digits) == digits[:22]
    assert is_handle(mark_of(digits))
    assert not is_handle(digits[:16])
    assert not is_handle("abc")


@given(cut=st.integers(0, 200), flip=st.integers(0, 200))
def test_damage_is_an_error_of_its_own(cut: int, flip: int) -> None:
    """Whatever bytes stand there: a refused publication, or `PlanUnreadable`."""
    kept = Contribution(
        planner="default",
        digest="ab" * 32,
        whole=True,
        author="p",
        created_at="",
        newest=1,
        first_at=1.0,
        last_at=2.0,
        times=3,
        names=4,
        refusals=(Refusal(guard="g", detail="d"),),
        zones={},
    )
    packed = pack_contribution(kept)
    assert unpack_contribution(packed, "default") == kept
    damaged = bytearray(packed[: max(0, len(packed) - cut)])
    if damaged:
        damaged[flip % len(damaged)] ^= 0x41
    try:
        unpack_contribution(bytes(damaged), "default")
    except PlanUnreadable:
        pass


async def test_news_tell_it_once(world: World, scope: Scope) -> None:
    """The first refusal of a content is news; the same again is none."""
    await publish(scope, plan(fleet(10)))
    cache = Cache(scope.keys)
    await cache.load(world.store)
    before = glance(cache)
    kept = await refused(scope, plan(fleet(4)))
    await cache.load(world.store)
    after = glance(cache)
    assert [said["text"] for said in compare(before, after, cache)] == [
        f"a publication of planner default refused: {', '.join(one.guard for one in kept.refusals)}; it is kept as"
        f" {kept.mark}"
    ]
    await refused(scope, plan(fleet(4)))
    await cache.load(world.store)
    assert not list(compare(after, glance(cache), cache))


def test_the_command_line_lists_shows_and_approves(tmp_path: Any) -> None:
    """From the refusal's own words on: each command that it names does what it says."""
    ctl = ctl_in(tmp_path)
    whole, half = tmp_path / "whole.json", tmp_path / "half.json"
    names = [f"n{number}.example.test." for number in range(10)]
    for path, some in ((whole, names), (half, names[:4])):
        endpoints = {name: {"ttl_s": 30, "targets": [{"address": "10.0.0.1", "weight": 1}]} for name in some}
        path.write_text(json.dumps({"schema": "enactord.plan/v1", "scope": "test", "endpoints": endpoints}))
    ctl("publish", str(whole), "--confirm-within", "0")
    assert "no publication of a planner is refused" in ctl("refused")
    said = ctl("publish", str(half), "--confirm-within", "0", code=1)
    mark = said.split("it is kept as ")[1].split(";")[0]
    assert f"enactorctl publish --approve {mark}" in said
    assert json.loads(ctl("publish", str(half), "--json", code=1))["error"]["kept"].startswith(mark)
    listed = json.loads(ctl("refused", "--json"))["refused"]
    assert (listed[0]["times"], listed[0]["names"]) == (2, 4)
    assert "2 times" in ctl("refused")
    assert "was REFUSED" in ctl("status")
    assert "6 removed" in ctl("diff", mark)
    assert "is a digest" in ctl("publish", mark, code=2)
    assert "needs a reason" in ctl("publish", "--approve", mark, code=2)
    assert "see: enactorctl refused" in ctl("publish", "--approve", "ab" * 8, "--reason", "-", code=1)
    assert "neither a generation" in ctl("diff", "nonsense", code=2)
    done = ctl("publish", "--approve", mark, "--reason", "closed", "--confirm-within", "0")
    assert "published generation 2" in done
    assert f"approval of {mark}; closed" in ctl("plans")
