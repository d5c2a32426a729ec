"""Bounds on load hold whatever asks, and hold up nobody for longer than they must. In virtual time."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enactord.engine.pace import Backoff, Gate, Limiter, Pacer, Patience, RetryBudget
from tests.hostile.effort import tries
from tests.simulation.loop import run


def now() -> float:
    return asyncio.get_running_loop().time()


def timed(main: Coroutine[Any, Any, Any]) -> float:
    """How long something takes."""

    async def measure() -> float:
        begun = now()
        await main
        return now() - begun

    return run(1, measure())


# -- Pacer


def test_a_pacer_takes_the_time_that_the_rate_gives() -> None:
    """The first unit waits for its own time too: so many in the end, however they were parted."""

    async def take(*units: int) -> None:
        pacer = Pacer()
        for some in units:
            await pacer.take(some, 100.0)

    assert timed(take(1000)) == pytest.approx(10.0)
    assert timed(take(*([10] * 100))) == pytest.approx(10.0)
    assert timed(take(0, 0)) == 0.0


@tries(12)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=12), st.integers(0, 9))
def test_all_who_share_a_pacer_keep_within_the_rate_together(units: list[int], seed: int) -> None:
    """Each is let go at the time by which the rate allows all that were asked for up to then."""

    async def main() -> None:
        pacer = Pacer()
        begun = now()
        done: list[tuple[float, int]] = []

        async def work(some: int) -> None:
            await pacer.take(some, 100.0)
            done.append((now() - begun, some))

        await asyncio.gather(*(work(some) for some in units))
        total = 0
        for at, some in done:
            total += some
            assert at >= total / 100.0 - 1e-9
        assert done[-1][0] == pytest.approx(sum(units) / 100.0)

    run(seed, main())


def test_a_pacer_that_was_idle_has_saved_nothing_up() -> None:
    """After a pause the rate is that of before: no burst."""

    async def main() -> None:
        pacer = Pacer()
        await pacer.take(10, 100.0)
        await asyncio.sleep(60.0)
        begun = now()
        await pacer.take(10, 100.0)
        assert now() - begun == pytest.approx(0.1)

    run(1, main())


def test_a_pacer_goes_by_the_rate_of_the_moment() -> None:
    """The rate may be set anew at any time; what was taken before is not judged again."""

    async def main() -> None:
        pacer = Pacer()
        begun = now()
        await pacer.take(10, 10.0)
        await pacer.take(10, 1000.0)
        assert now() - begun == pytest.approx(1.01)

    run(1, main())


# -- Gate


def test_no_more_are_under_way_than_there_are_places() -> None:
    """As long as each is quick; the others come in their turn, and all are done as soon as can be."""

    async def main() -> None:
        gate = Gate(3, patience_s=1.0)
        inside: list[int] = [0]
        most = 0

        async def work() -> None:
            nonlocal most
            async with gate.place():
                inside[0] += 1
                most = max(most, inside[0])
                await asyncio.sleep(0.5)
                inside[0] -= 1

        begun = now()
        await asyncio.gather(*(work() for _ in range(12)))
        assert most == 3
        assert now() - begun == pytest.approx(4 * 0.5)

    run(1, main())


def test_who_takes_long_holds_up_the_others_for_the_patience_alone() -> None:
    """Every place is taken by one that waits for a server that does not answer: another waits a moment."""

    async def main() -> None:
        gate = Gate(2, patience_s=1.0)

        async def slow() -> None:
            async with gate.place():
                await asyncio.sleep(100.0)

        tasks = [asyncio.create_task(slow()) for _ in range(2)]
        await asyncio.sleep(0.25)
        begun = now()
        for _ in range(20):
            async with gate.place():
                pass
        assert now() - begun == pytest.approx(0.75)
        await asyncio.gather(*tasks)

    run(1, main())


def test_who_gave_its_place_away_leaves_none_behind() -> None:
    """Each place is given back once, at the end or when the patience is over: there are never more than at first."""

    async def main() -> None:
        gate = Gate(2, patience_s=1.0)

        async def work(duration_s: float) -> None:
            async with gate.place():
                await asyncio.sleep(duration_s)

        await asyncio.gather(*(work(duration_s) for duration_s in (0.1, 0.9, 1.0, 1.1, 5.0, 3.0)))
        begun = now()
        await asyncio.gather(*(work(0.5) for _ in range(4)))
        assert now() - begun == pytest.approx(1.0)

    run(1, main())


def test_a_place_is_given_back_by_who_fails_or_is_cancelled() -> None:
    """Inside or while it waits for one."""

    async def main() -> None:
        gate = Gate(1, patience_s=1000.0)

        async def fail() -> None:
            async with gate.place():
                raise ValueError("by the test")

        async def stay() -> None:
            async with gate.place():
                await asyncio.Event().wait()

        with pytest.raises(ValueError, match="by the test"):
            await fail()
        inside, waiting = asyncio.create_task(stay()), asyncio.create_task(stay())
        await asyncio.sleep(1.0)
        waiting.cancel()
        await asyncio.sleep(0)
        inside.cancel()
        await asyncio.gather(inside, waiting, return_exceptions=True)
        begun = now()
        async with gate.place():
            assert now() == begun

    run(1, main())


@tries(12)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=20),
    st.integers(0, 9),
)
def test_who_is_within_its_patience_is_one_of_as_many_as_there_are_places(
    places: int, steps: list[tuple[int, int]], seed: int
) -> None:
    """Whenever they come and however long they take; and in the end all places are free."""

    async def main() -> None:
        gate = Gate(places, patience_s=1.0)
        entered: dict[int, float] = {}

        async def work(number: int, after: int, duration: int) -> None:
            await asyncio.sleep(after / 10)
            async with gate.place():
                entered[number] = now()
                assert sum(now() - at < 1.0 - 1e-6 for at in entered.values()) <= places
                await asyncio.sleep(duration / 10)
                del entered[number]

        await asyncio.gather(*(work(number, *step) for number, step in enumerate(steps)))
        begun = now()
        await asyncio.gather(*(work(number, 0, 5) for number in range(places)))
        assert now() - begun == pytest.approx(0.5)

    run(seed, main())


# -- the others


def test_a_limiter_halves_and_comes_back_by_small_steps() -> None:
    """Never below one at a time, never above its limit."""
    limiter = Limiter(limit_max=8, slow_s=1.0)
    for limit in (4.0, 2.0, 1.0, 1.0):
        limiter.failed()
        assert limiter.limit == limit
    for _ in range(100):
        limiter.succeeded(0.1)
    assert limiter.limit == 8.0
    limiter.succeeded(1.1)
    assert limiter.limit < 8.0


def test_a_limiter_lets_in_as_many_as_its_limit() -> None:
    """Who waits and is cancelled passes its turn on."""

    async def main() -> None:
        limiter = Limiter(limit_max=2, slow_s=1.0)
        inside: set[int] = set()

        async def work(number: int) -> int:
            async with limiter:
                inside.add(number)
                assert len(inside) <= 2
                await asyncio.sleep(0.5)
                inside.discard(number)
            return number

        tasks = [asyncio.create_task(work(number)) for number in range(8)]
        await asyncio.sleep(0.1)
        assert len(inside) == 2
        waiting = [number for number in range(8) if number not in inside]
        for number in waiting[:2]:
            tasks[number].cancel()
        begun = now()
        left = [number for number in range(8) if number not in waiting[:2]]
        assert await asyncio.gather(*(tasks[number] for number in left)) == left
        assert now() - begun == pytest.approx(3 * 0.5 - 0.1)
        assert limiter.in_flight == 0

    run(1, main())


def test_retries_are_spent_from_what_successes_deposit() -> None:
    """An overload ends them; ten successes buy one, and a trickle keeps a long fault from being for ever."""
    budget = RetryBudget()
    assert budget.ratio == 1.0
    spent = 0
    while budget.spend():
        spent += 1
    assert spent == 50
    for _ in range(9):
        budget.deposit()
    assert not budget.spend()
    budget.deposit()
    budget.deposit()
    assert budget.spend()
    budget.trickle()
    assert budget.spend()


@given(st.integers(0, 99))
def test_delays_grow_to_their_cap(seed: int) -> None:
    """Each is anything up to a ceiling that doubles; after a reset they begin anew."""
    backoff = Backoff(random.Random(seed), first_s=0.1, cap_s=3.0)
    for ceiling in (0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0):
        assert 0.0 <= backoff.next_s() <= ceiling
    backoff.reset()
    assert backoff.next_s() <= 0.1


def test_patience_doubles_with_each_plan_given_up_and_halves_with_each_applied() -> None:
    """None at first, and none again in the end; never more than its cap."""
    patience = Patience(first_s=0.5, cap_s=3.0)
    found = [patience.now_s]
    for _ in range(4):
        patience.given_up()
        found.append(patience.now_s)
    for _ in range(4):
        patience.applied()
        found.append(patience.now_s)
    assert found == [0.0, 0.5, 1.0, 2.0, 3.0, 1.5, 0.75, 0.375, 0.0]
