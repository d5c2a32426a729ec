"""The naive enactor does its work: applies, flips, rolls back, keeps to its lock. In memory, on Knot, on BIND."""

import asyncio

import pytest

from bench.naive.enactor import NaiveEnactor
from bench.naive.layout import alias_key, lock_key, rollback_key, tree_of, trees_of
from bench.naive.memory import Answer, GivenPlans
from bench.naive.ports import NaiveError, Outcome, Plan, Transaction, Zone
from enactord.core.content import pack_address
from enactord.core.records import Records
from tests.naive.sites import Held, Site, asks_for_lock, enactor, flips, naive_plan, reached


def www(site: Site) -> str:
    return f"www.{site.zone}"


def one(site: Site, generation: int) -> Plan:
    return naive_plan(generation, www(site))


async def alias(zone: Zone, name: str) -> tuple[str, ...]:
    return (await zone.read([alias_key(name)]))[alias_key(name)]


async def test_a_plan_is_served_through_an_alias_to_its_tree(site: Site) -> None:
    """The addresses of both families stand in the plan's tree; the live name is an alias to it, and no lock is left."""
    name = www(site)
    records = Records(ttl_s=5, a=(pack_address("10.1.0.1"), pack_address("10.1.0.2")), aaaa=(pack_address("fd00::1"),))
    first = enactor(site, "e1")
    assert await first.apply(Plan(generation=7, endpoints={name: records}))
    assert await site.resolve(name) == Answer(rcode="NOERROR", addresses=("10.1.0.1", "10.1.0.2", "fd00::1"))
    zone = site.client("reader")
    assert await alias(zone, name) == (tree_of(7, name, site.zone),)
    lock = lock_key(name, site.zone)
    assert await zone.read([lock, rollback_key(name, site.zone)]) == {lock: (), rollback_key(name, site.zone): ()}
    assert await first.last_applied() == 7


async def test_a_newer_plan_flips_the_alias_and_the_rollback_alias(site: Site) -> None:
    """After a flip the rollback alias points at what was active, and that tree is still there."""
    name = www(site)
    first = enactor(site, "e1")
    await first.apply(one(site, 1))
    assert await first.apply(one(site, 2))
    assert (await site.resolve(name)).addresses == ("10.2.0.1",)
    rollback = rollback_key(name, site.zone)
    zone = site.client("reader")
    assert (await zone.read([rollback]))[rollback] == (tree_of(1, name, site.zone),)
    assert (await site.resolve(tree_of(1, name, site.zone))).addresses == ("10.1.0.1",)


async def test_a_plan_that_is_not_newer_changes_nothing(site: Site) -> None:
    """The one check at the start stands before all writes."""
    await enactor(site, "e1").apply(one(site, 2))
    other = enactor(site, "e2")
    assert not await other.apply(one(site, 2))
    assert not await other.apply(one(site, 1))
    assert (await site.resolve(www(site))).addresses == ("10.2.0.1",)
    assert list(await site.client("reader").names_below(trees_of(site.zone))) == [tree_of(2, www(site), site.zone)]


async def test_a_rollback_flips_back_and_the_next_forth(site: Site) -> None:
    """Live and rollback alias change places."""
    first = enactor(site, "e1")
    await first.apply(one(site, 1))
    await first.apply(one(site, 2))
    await first.roll_back([www(site)])
    assert (await site.resolve(www(site))).addresses == ("10.1.0.1",)
    await first.roll_back([www(site)])
    assert (await site.resolve(www(site))).addresses == ("10.2.0.1",)


async def test_a_rollback_to_nothing_is_refused(site: Site) -> None:
    """With no rollback alias, or one whose tree is gone, the live name stays as it is, and the lock is given back."""
    name = www(site)
    first = enactor(site, "e1")
    await first.apply(one(site, 1))
    with pytest.raises(NaiveError, match="nothing to roll back to"):
        await first.roll_back([name])
    await first.apply(one(site, 20))  # its clean-up deletes tree 1
    with pytest.raises(NaiveError, match="not there"):
        await first.roll_back([name])
    assert (await site.resolve(name)).addresses == ("10.20.0.1",)
    assert await first.apply(one(site, 21))


async def test_clean_up_deletes_trees_by_their_age(site: Site) -> None:
    """Trees far below the plan just applied go; endpoints that it leaves out keep theirs."""
    left_out = f"other.{site.zone}"
    first = enactor(site, "e1", keep_plans=2)
    await first.apply(naive_plan(1, www(site), left_out))
    for generation in (2, 3, 5):
        await first.apply(one(site, generation))
    assert set(await site.client("reader").names_below(trees_of(site.zone))) == {
        tree_of(1, left_out, site.zone),
        *(tree_of(generation, www(site), site.zone) for generation in (3, 5)),
    }


async def test_records_by_value_stand_at_the_live_name_itself(site: Site) -> None:
    """Without aliases there is no tree and no rollback alias; an alias left from before gives way."""
    await enactor(site, "e1").apply(one(site, 1))
    by_value = enactor(site, "e2", alias=False)
    await by_value.apply(one(site, 2))
    await by_value.apply(one(site, 3))
    zone = site.client("reader")
    assert await alias(zone, www(site)) == ()
    assert (await site.resolve(www(site))).addresses == ("10.3.0.1",)
    await enactor(site, "e1").apply(one(site, 4))
    assert await alias(zone, www(site)) == (tree_of(4, www(site), site.zone),)


async def test_an_alias_to_nothing_resolves_to_no_address(site: Site) -> None:
    """In memory as on Route 53, NOERROR with no records; a server of RFC 6604 says NXDOMAIN."""
    await enactor(site, "e1").apply(one(site, 1))
    tree = tree_of(1, www(site), site.zone)
    await site.client("hand").transact(Transaction(exactly={}, deletes=[(alias_key(tree)._replace(rtype="A"))]))
    assert await site.resolve(www(site)) == Answer(rcode=site.dangling, addresses=())


async def test_an_endpoint_where_no_alias_can_stand_is_refused(site: Site) -> None:
    """Neither at the apex, beside SOA and NS, nor where it would be taken for a tree."""
    for name in (site.zone, f"g1.{trees_of(site.zone)}"):
        with pytest.raises(NaiveError, match="no alias can stand there"):
            await enactor(site, "e1").apply(naive_plan(1, name))


async def test_the_lock_keeps_others_out_until_it_is_given_back(site: Site) -> None:
    """Who finds the lock held waits, and goes on once it is free: sections do not overlap."""
    first, second = Held(site.client("e1")), Held(site.client("e2"))
    first.hold(lambda asked: flips(asked, www(site)))
    one_task = asyncio.create_task(enactor(site, "e1", zone=first).apply(one(site, 1)))
    await reached(first, one_task)
    two_task = asyncio.create_task(enactor(site, "e2", zone=second).apply(one(site, 2)))
    while sum(asks_for_lock(asked, www(site)) for asked in second.asked) < 3:
        await asyncio.sleep(0.001)
    assert await alias(second, www(site)) == ()
    first.release()
    assert await one_task
    assert await two_task
    assert (await site.resolve(www(site))).addresses == ("10.2.0.1",)


async def test_a_lock_held_for_too_long_is_lost_with_the_batch_to_come(site: Site) -> None:
    """Another takes it over; the first one's flip is refused, it says so and begins the endpoint again."""
    slow = Held(site.client("e1"))
    slow.hold(lambda asked: flips(asked, www(site)))
    said: list[str] = []
    task = asyncio.create_task(enactor(site, "e1", zone=slow, said=said).apply(one(site, 1)))
    await reached(slow, task)
    assert await enactor(site, "e2", ahead_s=31).apply(one(site, 2))
    slow.release()
    assert await task
    assert Outcome.CHANGED in slow.outcomes
    assert f"{www(site)}: lost the lock before the flip to 1" in said
    # Every section was exclusive, and the older plan is served: the lock says who writes, and not what.
    assert (await site.resolve(www(site))).addresses == ("10.1.0.1",)


async def test_run_applies_the_newest_plan_and_goes_on_after_a_failure(site: Site) -> None:
    """A plan that cannot be applied is said, and tried again until a newer one comes."""
    plans, said = GivenPlans(), list[str]()
    running: NaiveEnactor = enactor(site, "e1", plans=plans, said=said, poll_s=0.01)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(running.run())
        plans.publish(naive_plan(1, site.zone))
        while sum("failed" in line for line in said) < 2:
            await asyncio.sleep(0.005)
        plans.publish(one(site, 2))
        while await running.last_applied() != 2:
            await asyncio.sleep(0.005)
        task.cancel()
    assert (await site.resolve(www(site))).addresses == ("10.2.0.1",)
