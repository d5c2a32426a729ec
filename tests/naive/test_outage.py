"""The outage, step by step: an enactor that was delayed, a clean-up, and what each part of the design is to blame for.

The lock is correct in all of it: whoever writes holds it, and writes what it should not.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from bench.naive.layout import alias_key, rollback_key, tree_of, trees_of
from bench.naive.memory import Answer
from bench.naive.ports import Rrset, Transaction, TreeGone
from tests.naive.sites import Held, Site, asks_for_lock, enactor, naive_plan, reached

LATE, NEWER, NEXT = 2, 9, 10
"""Plans: the one that a delayed enactor has in hand, a much newer one, and the next to come."""


@dataclass(kw_only=True)
class Replay:
    """What was served after each act, and what the enactors said."""

    name: str
    newer: Answer
    """The much newer plan was applied everywhere; its clean-up has not begun."""
    late: Answer
    """The delayed enactor got the lock, by right, and wrote."""
    cleaned: Answer
    """The clean-up of the newer plan is over."""
    said: list[str]


async def replay(site: Site, **settings: Any) -> Replay:
    """Plan 1 is applied; e1 takes plan 2, checks that it is new, and is delayed; e2 applies plan 9; e1 goes on."""
    name, said = f"www.{site.zone}", list[str]()
    slow, fast = Held(site.client("e1")), Held(site.client("e2"))
    e1 = enactor(site, "e1", zone=slow, said=said, **settings)
    e2 = enactor(site, "e2", zone=fast, said=said, **settings)
    await e1.apply(naive_plan(1, name))
    assert (await site.resolve(name)).addresses == ("10.1.0.1",)

    slow.hold(lambda asked: asks_for_lock(asked, name))
    late_task = asyncio.create_task(e1.apply(naive_plan(LATE, name)))
    await reached(slow, late_task)
    fast.hold(lambda asked: asked == trees_of(site.zone))
    newer_task = asyncio.create_task(e2.apply(naive_plan(NEWER, name)))
    if settings.get("alias", True) and settings.get("clean_up", True):
        await reached(fast, newer_task)
    else:
        assert await newer_task
    newer = await site.resolve(name)
    slow.release()
    await late_task
    late = await site.resolve(name)
    fast.release()
    await newer_task
    return Replay(name=name, newer=newer, late=late, cleaned=await site.resolve(name), said=said)


def fresh(generation: int) -> Answer:
    return Answer(rcode="NOERROR", addresses=(f"10.{generation}.0.1",))


async def test_the_outage_is_stale_then_empty_then_stuck(site: Site) -> None:
    """An older plan is served, its tree is deleted as too old, and from then on no enactor can apply any plan."""
    seen = await replay(site)
    assert (seen.newer, seen.late) == (fresh(NEWER), fresh(LATE))
    assert seen.cleaned == Answer(rcode=site.dangling, addresses=())
    gone = tree_of(LATE, seen.name, site.zone)
    for generation in (NEXT, NEXT + 1):
        for holder in ("e1", "e2", "e3"):
            with pytest.raises(TreeGone, match=gone):
                await enactor(site, holder).apply(naive_plan(generation, seen.name))
    with pytest.raises(TreeGone, match=gone):
        await enactor(site, "e3").roll_back([seen.name])
    assert (await site.resolve(seen.name)).addresses == ()
    assert await enactor(site, "e3").last_applied() == NEWER


async def test_only_a_hand_gets_the_outage_unstuck(site: Site) -> None:
    """Point the broken alias at the tree of the rollback alias, past the enactors: then they go on by themselves."""
    seen = await replay(site)
    rollback, live = rollback_key(seen.name, site.zone), alias_key(seen.name)
    hand = site.client("hand")
    target = (await hand.read([rollback]))[rollback]
    assert target == (tree_of(NEWER, seen.name, site.zone),)
    await hand.transact(Transaction(exactly={}, deletes=[live], adds=[Rrset(key=live, ttl_s=5, values=target)]))
    assert await site.resolve(seen.name) == fresh(NEWER)
    assert await enactor(site, "e1").apply(naive_plan(NEXT, seen.name))
    assert await site.resolve(seen.name) == fresh(NEXT)


async def test_the_outage_stops_the_endpoints_after_the_empty_one(site: Site) -> None:
    """A plan is walked in order and ends at the endpoint that is stuck: those after it get no new plan either."""
    seen = await replay(site)
    before, after = f"a.{site.zone}", f"z.{site.zone}"
    with pytest.raises(TreeGone):
        await enactor(site, "e1").apply(naive_plan(NEXT, before, seen.name, after))
    assert await site.resolve(before) == fresh(NEXT)
    assert (await site.resolve(after)).addresses == ()


@pytest.mark.parametrize(
    ("settings", "empty"),
    [
        pytest.param({"rollback_required": False}, True, id="no rollback requirement"),
        pytest.param({"clean_up": False}, False, id="no clean-up"),
        pytest.param({"alias": False}, False, id="by value"),
    ],
)
async def test_without_one_of_its_parts_the_outage_heals(site: Site, settings: dict[str, Any], empty: bool) -> None:
    """Each is stale all the same, and none is stuck; one is empty, until the next plan."""
    seen = await replay(site, **settings)
    assert (seen.newer, seen.late) == (fresh(NEWER), fresh(LATE))
    assert seen.cleaned == (Answer(rcode=site.dangling, addresses=()) if empty else fresh(LATE))
    assert await enactor(site, "e1", **settings).apply(naive_plan(NEXT, seen.name))
    assert await site.resolve(seen.name) == fresh(NEXT)


async def test_a_check_before_each_endpoint_does_not_prevent_the_outage(site: Site) -> None:
    """Time passes between any check and its write; what is asked outside the write is not asked of it."""
    seen = await replay(site, check_each=True)
    assert seen.late == fresh(LATE)
    assert seen.cleaned.addresses == ()
    with pytest.raises(TreeGone):
        await enactor(site, "e1", check_each=True).apply(naive_plan(NEXT, seen.name))


@pytest.mark.parametrize("check_each", [False, True])
async def test_a_check_before_each_endpoint_shortens_the_damage(site: Site, check_each: bool) -> None:
    """Delayed at its first endpoint, an enactor that checks again spares the second; one that does not, does not."""
    names = (f"a.{site.zone}", f"b.{site.zone}")
    slow = Held(site.client("e1"))
    slow.hold(lambda asked: asks_for_lock(asked, names[0]))
    late = asyncio.create_task(enactor(site, "e1", zone=slow, check_each=check_each).apply(naive_plan(LATE, *names)))
    await reached(slow, late)
    assert await enactor(site, "e2").apply(naive_plan(NEWER, *names))
    slow.release()
    assert await late is not check_each
    assert await site.resolve(names[0]) == fresh(LATE)
    assert await site.resolve(names[1]) == fresh(NEWER if check_each else LATE)


async def test_without_the_lock_the_outage_is_the_same(site: Site) -> None:
    """The lock has no part in it."""
    seen = await replay(site, lock=False)
    assert (seen.newer, seen.late, seen.cleaned.addresses) == (fresh(NEWER), fresh(LATE), ())
    with pytest.raises(TreeGone):
        await enactor(site, "e1", lock=False).apply(naive_plan(NEXT, seen.name))
