"""python -m tests.simulation: many seeds, or one again with its trace."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.simulation import mutants
from tests.simulation.scenario import Outcome, simulate

OUT = Console(highlight=False)


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=200, show_default=True, help="How many seeds.")
@click.option("--first", type=int, default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=int, help="This one seed alone, with every violation and its trace.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write the trace of --seed here.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Processes.")
@click.option("--mutants", "show_mutants", is_flag=True, help="Switch off each mechanism in turn; print the table.")
@click.option("--only", default="", help="With --mutants: this one alone.")
def main(
    seeds: int, first: int, seed: int | None, trace: Path | None, jobs: int, show_mutants: bool, only: str
) -> None:
    """Run the shipped engine in hostile worlds drawn from seeds."""
    if seed is not None:
        sys.exit(_one(seed, trace))
    if show_mutants:
        sys.exit(mutants.print_table(OUT, seeds=seeds, first=first, jobs=jobs, only=only))
    sys.exit(_many(range(first, first + seeds), jobs))


def _one(seed: int, trace: Path | None) -> int:
    outcome = simulate(seed)
    if trace is not None:
        trace.write_text("\n".join(outcome.trace) + "\n", encoding="utf-8")
    OUT.print(f"seed {seed}: {outcome.simulated_s:.0f} s simulated, {outcome.steps} steps, trace {outcome.digest}")
    OUT.print(f"faults: {_counts(outcome.faults)}")
    for violation in outcome.violations:
        OUT.print(violation, style="red", soft_wrap=True)
    return 1 if outcome.violations else 0


def _many(seeds: Iterable[int], jobs: int) -> int:
    numbers = list(seeds)
    start = time.monotonic()
    faults: Counter[str] = Counter()
    simulated_s = 0.0
    steps = 0
    wrong: list[Outcome] = []
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        ProcessPoolExecutor(jobs) as pool,
        Progress(*columns, console=OUT, transient=True, disable=not OUT.is_terminal) as progress,
    ):
        bar = progress.add_task("", total=len(numbers))
        for done in as_completed([pool.submit(simulate, number) for number in numbers]):
            outcome = done.result()
            faults.update(outcome.faults)
            simulated_s += outcome.simulated_s
            steps += outcome.steps
            if outcome.violations:
                wrong.append(outcome)
                OUT.print(f"seed {outcome.seed}: {outcome.violations[0]}", style="red", soft_wrap=True)
            progress.advance(bar)
    table = Table(show_header=False, box=None)
    table.add_row("seeds", f"{numbers[0]} to {numbers[-1]}")
    table.add_row("simulated", f"{simulated_s / 3600:.1f} hours")
    table.add_row("steps", f"{steps:,}")
    table.add_row("faults", _counts(faults))
    table.add_row("violations", f"{sum(len(o.violations) for o in wrong)} in {len(wrong)} seeds")
    table.add_row("time taken", f"{time.monotonic() - start:.0f} s in {jobs} processes")
    OUT.print(table)
    if wrong:
        OUT.print(f"replay one: python -m tests.simulation --seed {min(o.seed for o in wrong)} --trace trace.txt")
    return 1 if wrong else 0


def _counts(faults: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(faults.items()))


if __name__ == "__main__":
    main()
