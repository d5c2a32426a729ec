"""The shipped engine in hostile worlds: a short run of what `make sim` does at length."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.daily import daily
from tests.simulation.mutants import MUTANTS, Caught, Mutant, run_mutant
from tests.simulation.scenario import simulate
from tests.simulation.small import WORLDS, SmallWorld, explore

FOUND = (Path(__file__).parent / "seeds.txt").read_text().splitlines()
SEEDS = [int(text.split()[0]) for text in FOUND if not text.startswith("#")]
STATES = 400
EARLY = 20
SEEDS_MAX = 40


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", daily([4, 30], 1))
def test_seeds_violate_nothing(seeds: int) -> None:
    """Hostile worlds: no invariant is violated, and once faults stop all is as the newest plan says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", str(seeds), "--first", "1000"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", daily(SEEDS, 3))
def test_a_seed_that_found_something_finds_nothing_now(seed: int) -> None:
    """Every seed that ever failed is run again."""
    assert simulate(seed).violations == ()


def test_the_same_seed_gives_the_same_trace(tmp_path: Path) -> None:
    """Byte for byte, in another process, with another hash seed, after another run in the same process."""
    traces = []
    for number in (1, 2):
        path = tmp_path / f"{number}.txt"
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "3", "--trace", str(path)],
            env=os.environ | {"PYTHONHASHSEED": str(number)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        traces.append(path.read_bytes())
    assert traces[0] == traces[1]
    assert len(traces[0]) > 10_000
    simulate(4)
    assert "\n".join(simulate(3).trace).encode() + b"\n" == traces[0]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", daily([2, len(MUTANTS)], 1))
def test_mechanisms_that_are_switched_off_are_noticed(number: int) -> None:
    """Mutants that are caught early: by the seed that they state or, should its world have changed, by another soon.

    The everyday suite tries the first two; `make mutants` goes through the others, too.
    """
    early = [mutant for mutant in MUTANTS if 0 <= mutant.seed <= EARLY][:number]

    def run(mutant: Mutant) -> Caught:
        caught = run_mutant(mutant, first=mutant.seed, seeds=1)
        return caught if caught.seed is not None else run_mutant(mutant, first=0, seeds=SEEDS_MAX)

    with ThreadPoolExecutor(2) as pool:
        caught = list(pool.map(run, early))
    assert [each.mutant.name for each in caught if each.seed is None] == []
    # It is the mechanism that a seed shows: with every mechanism on, it shows nothing.
    for seed in sorted({each.seed for each in caught if each.seed is not None}):
        assert simulate(seed).violations == (), seed


@pytest.mark.parametrize("world", daily(WORLDS, 5, name=lambda world: world.name))
def test_a_small_world_is_sound_in_every_order(world: SmallWorld) -> None:
    """The first few hundred states of each; `make small` goes through all of them."""
    found = explore(world, states_max=STATES)
    assert found.violations == [], "\n".join(found.trace)
    assert found.states >= STATES or found.complete
