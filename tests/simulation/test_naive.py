"""What the naive enactor comes to in the weather that the shipped engine survives, and the shortest way there."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from bench.naive.layout import alias_key, tree_of
from bench.naive.memory import MemoryServer
from bench.naive.ports import Key, Transaction, TreeGone
from tests.daily import daily
from tests.naive.sites import Held, MemorySite, enactor, flips, naive_plan
from tests.simulation.naive import CALM, OUTAGE, VARIANTS, Result, simulate_naive
from tests.simulation.naive_shortest import NAME, ZONE, Shortest, find_shortest

SEEDS = range(20)
NO_OUTAGE = ("no clean-up", "no rollback requirement", "by value")
"""The variants that lack one of the outage's holes."""


def runs(variant: str) -> list[Result]:
    return [simulate_naive(seed, **VARIANTS[variant]) for seed in SEEDS]


@pytest.fixture(scope="module")
def shortest() -> Shortest:
    return find_shortest()


def test_the_outages_enactor_ends_empty_and_stuck() -> None:
    """In some seeds: first stale, then empty, and then no later plan is ever served."""
    stuck = [seen for seen in runs(OUTAGE) if seen.stuck]
    assert stuck
    for seen in stuck:
        dead = {wrong.name: wrong for wrong in seen.stuck}
        emptied = {wrong.name: wrong for wrong in seen.empty}
        first = min(dead)
        assert emptied[first].plan == dead[first].plan < dead[first].after, "it refers to an old plan, which is gone"
        assert (first, dead[first].plan) in {(wrong.name, wrong.plan) for wrong in seen.stale}
        calm = [text.split(maxsplit=1)[1] for text in seen.trace]
        calm = calm[calm.index("faults stop") :]
        failed = [text.partition("/")[0] for text in calm if f"failed: {first}: no flip" in text]
        assert set(failed) == {"e1", "e2", "e3"}, "each tries, and none gets past it"
        assert not any(f"{first} serves" in text for text in calm)


def test_nothing_happens_to_the_outages_enactor_while_nobody_is_delayed() -> None:
    """The same planner at the same pace: the program works."""
    for seed in SEEDS:
        seen = simulate_naive(seed, calm=True)
        assert (seen.stale, seen.empty, seen.stuck) == ((), (), ())
        assert sum(" serves plan " in text for text in seen.trace) > 10


@pytest.mark.parametrize("variant", daily(NO_OUTAGE, 1))
def test_without_one_of_its_parts_nothing_is_stuck(variant: str) -> None:
    """Each is stale in some seeds all the same; without trees or clean-up nothing is even empty."""
    seen = runs(variant)
    assert any(each.stale for each in seen)
    assert not any(each.stuck for each in seen)
    assert any(each.empty for each in seen) is (variant == "no rollback requirement")


def test_the_same_seed_gives_the_same_trace() -> None:
    """Byte for byte, in another process, with another hash seed."""
    printed = [
        command("tests.simulation.naive", "--seed", "3", env={"PYTHONHASHSEED": number}).stdout for number in ("1", "2")
    ]
    assert printed[0] == printed[1]
    seen = simulate_naive(3)
    assert printed[0].splitlines()[:-2] == list(seen.trace)
    assert seen.digest in printed[0]
    assert len(seen.trace) > 100


def test_the_command_counts_every_variant_and_enactord() -> None:
    """One row each, of all seeds asked for; enactord violates nothing."""
    done = command("tests.simulation.naive", "--seeds", "1", "--json")
    rows = {row["variant"]: row for row in json.loads(done.stdout)["rows"]}
    assert list(rows) == [*VARIANTS, CALM, "enactord"]
    assert rows[OUTAGE] == counted(OUTAGE, [simulate_naive(seed) for seed in range(1)])
    assert rows["enactord"] == counted("enactord", [])


def counted(variant: str, seen: Sequence[Result]) -> dict[str, object]:
    stale, empty, stuck = (sum(bool(getattr(each, what)) for each in seen) for what in ("stale", "empty", "stuck"))
    return {"variant": variant, "seeds": 1, "stale": stale, "empty": empty, "stuck": stuck, "violations": 0}


def command(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


# -- the shortest way


async def test_the_shortest_way_has_no_call_too_many(shortest: Shortest) -> None:
    """It is as long as the calls that both enactors need when alone: no way can have fewer."""
    site = MemorySite(ZONE)
    alone = {who: Held(site.client(who)) for who in ("e1", "e2")}
    for generation, who in enumerate(alone, start=1):
        assert await enactor(site, who, zone=alone[who], keep_plans=0).apply(naive_plan(generation, NAME))
    late, newer = (way.asked for way in alone.values())
    until_flip = 1 + next(number for number, asked in enumerate(late) if flips(asked, NAME))
    deletes = isinstance(newer[-1], Transaction) and newer[-1].deletes
    assert deletes, "its last call is that of its clean-up"
    publish_and_take = 2 + 2
    assert shortest.steps == publish_and_take + until_flip + len(newer)


async def test_the_shortest_way_leads_into_the_outage(shortest: Shortest) -> None:
    """Two enactors whose calls are let go in just this order, without the search, end where it says: for good."""
    acts = shortest.acts[: shortest.steps]
    site = MemorySite(ZONE)
    served = await follow(site, [act.who for act in acts])
    assert served == [act.served for act in acts]
    assert served[-2:] == ["plan 1", "nothing"]
    assert "plan 2" in served, "what came last but one is stale"
    gone = tree_of(1, NAME, ZONE)
    assert site.server.values(alias_key(NAME)) == (gone,)
    assert site.server.values(Key(gone, "A")) == ()
    for generation in (3, 4):
        for holder in ("e1", "e2", "e3"):
            with pytest.raises(TreeGone, match=gone):
                await enactor(site, holder).apply(naive_plan(generation, NAME))
    assert served_by(site.server) == "nothing"


async def follow(site: MemorySite, turns: Sequence[str]) -> list[str]:
    """Whose turn it is publishes, takes the newest plan, or has its next call carried out; then what is served?"""
    ways = {who: Held(site.client(who)) for who in ("e1", "e2")}
    tasks: dict[str, asyncio.Task[bool]] = {}
    published = 0
    served = []
    for who in turns:
        if who == "planner":
            published += 1
        else:
            way = ways[who]
            way.release()  # one call: whoever waits goes on, and the next is held again
            way.hold(lambda asked: True)
            if who not in tasks:
                newest = naive_plan(published, NAME)
                tasks[who] = asyncio.create_task(enactor(site, who, zone=way, keep_plans=0).apply(newest))
            while not way.reached.is_set() and not tasks[who].done():
                await asyncio.sleep(0)
        served.append(served_by(site.server))
    for way in ways.values():
        way.release()
    await asyncio.gather(*tasks.values())
    return served


def served_by(server: MemoryServer) -> str:
    addresses = server.resolve(NAME).addresses
    return f"plan {addresses[0].split('.')[1]}" if addresses else "nothing"


@pytest.mark.parametrize("variant", NO_OUTAGE)
def test_without_one_of_its_parts_no_order_leads_into_the_outage(variant: str) -> None:
    """All orders of the calls were tried."""
    found = find_shortest(**VARIANTS[variant])
    assert found.acts == []
    assert found.states > 200


def test_the_command_prints_the_shortest_way(shortest: Shortest) -> None:
    """A line for each call, and how many states were looked at; the same in another process."""
    printed = command("tests.simulation.naive_shortest", env={"PYTHONHASHSEED": "5", "COLUMNS": "200"}).stdout
    assert f"{shortest.states:,} states" in printed
    for number, act in enumerate(shortest.acts, start=1):
        assert [*str(number).split(), *act.who.split(), *act.what.split(), *act.served.split()] in [
            text.split() for text in printed.splitlines()
        ]
