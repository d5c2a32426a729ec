"""Run benchmarks, print what they found, and write a report."""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from bench.bars import judge
from bench.machine import machine, versions
from bench.merge import merge
from bench.registry import BENCHMARKS, Benchmark
from bench.report.page import write_readme, write_report
from bench.report.tables import Table, bars_table, tables
from bench.results import Found, InvalidResults, Results, read_results
from bench.runner import Bench, Sizes, Tell
from enactord.daemon.collector import tune_collector

OUT = Path(__file__).parent / "out"
_WIDTH = 220
"""Columns of a page where it is no terminal."""
_EXAMPLES = """examples:
  python -m bench                       all, in full: under half an hour
  python -m bench --quick               all, small: under three minutes
  python -m bench apply churn --server knot
  python -m bench apply --endpoints 500,5000 --rounds 3
  python -m bench recovery --outage 20  etcd is away for 20 s instead of five minutes
  python -m bench --again a/results.json b/results.json     the report anew, from runs that were
  python -m bench --again bench/out/results.json --readme bench/README.md     and its tables put in there
"""


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(sorted(int(part) for part in text.split(",")))
    if counts[0] < 1:
        raise argparse.ArgumentTypeError("at least one endpoint")
    return counts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=_EXAMPLES + "\nbenchmarks:\n" + "\n".join(f"  {b.name:10} {b.question}" for b in BENCHMARKS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks [default: all]")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--quick", action="store_true", help="small sizes, for CI: under three minutes")
    form.add_argument("--full", action="store_true", help="all sizes, under half an hour [default]")
    parser.add_argument("--server", choices=("knot", "bind"), help="on this server alone")
    parser.add_argument("--endpoints", type=_counts, metavar="N,N", help="so many endpoints [one: few, many]")
    parser.add_argument("--rounds", type=int, help="so many rounds")
    parser.add_argument("--outage", type=float, metavar="SECONDS", help="how long etcd is away (recovery)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help=f"[default: {OUT.name}/ beside this]")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put the tables into this Markdown file")
    parser.add_argument(
        "--again", type=Path, nargs="+", metavar="RESULTS.json", help="run nothing; make the report of runs that were"
    )
    return parser


async def run(
    chosen: Sequence[Benchmark], form: str, tell: Tell, *, adapt: Callable[[Sizes], Sizes] = lambda sizes: sizes
) -> tuple[Results, list[str]]:
    """Run benchmarks one after the other; returns what they found, and what went wrong."""
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    facts = machine()
    start = time.perf_counter()
    found: list[Found] = []
    wrong: list[str] = []
    for benchmark in chosen:
        bench = Bench(adapt(benchmark.sizes[form]), partial(_tell, tell, benchmark.name))
        began = time.perf_counter()
        try:
            await benchmark.run(bench)
        except Exception:  # one that fails must not lose what the others found
            wrong.append(f"{benchmark.name}:\n{traceback.format_exc()}")
            bench.notes.append("This benchmark did not come to its end: what is missing was not measured.")
        found.append(
            Found(
                name=benchmark.name,
                question=benchmark.question,
                baseline=benchmark.baseline,
                main=benchmark.main,
                cells=bench.cells,
                series=tuple(bench.series),
                notes=tuple(bench.notes),
                took_s=time.perf_counter() - began,
            )
        )
    results = Results(
        form=form,
        started_at=started_at,
        took_s=time.perf_counter() - start,
        machine=facts,
        versions=versions(),
        found=tuple(found),
        bars=judge(found),
    )
    return results, wrong


def _tell(tell: Tell, name: str, text: str) -> None:
    tell(f"{name}: {text}")


def show(results: Results, console: Console) -> None:
    """Print every table, and last the bars."""
    for fact in (results.machine, results.versions):
        console.print(", ".join(f"{name}: {value}" for name, value in fact.items()), highlight=False)
    for found in results.found:
        console.rule(f"{found.name} ({found.took_s:.0f} s)")
        console.print(found.question)
        _print(tables(found), console)
        for note in found.notes:
            console.print(note, style="bold red")
    _print([bars_table(results)], console)


def _print(shown: Iterable[Table], console: Console) -> None:
    for table in shown:
        rich = RichTable(title=table.title, title_justify="left", box=None, header_style="bold")
        for number, head in enumerate(table.head):
            rich.add_column(head, justify="left" if number == 0 or head == "remarks" else "right")
        for row in table.rows:
            rich.add_row(*row)
        console.print(rich)


def main(words: Sequence[str] | None = None) -> None:
    """Do what the command line says; `words`: another one."""
    arguments = _parser().parse_args(words)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    wrong: list[str] = []
    try:
        if arguments.again:
            results = merge([read_results(path) for path in arguments.again], list(BENCHMARKS))
        else:
            results, wrong = _run_shown(arguments)
    except (InvalidResults, OSError, pytest.fail.Exception) as error:
        sys.exit(f"error: {error}")
    show(results, console)
    write_report(results, arguments.out)
    console.print(f"report: {arguments.out / 'report.html'}", highlight=False)
    try:
        if arguments.readme:
            write_readme(results, arguments.readme)
    except (OSError, ValueError) as error:
        wrong.append(f"error: {error}")
    for text in wrong:
        print(text, file=sys.stderr)
    if wrong:
        sys.exit(1)


def _run_shown(arguments: argparse.Namespace) -> tuple[Results, list[str]]:
    """Run what was asked for, with a progress bar; off a terminal, with a line for each thing that is done."""
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"error: no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    chosen = [BENCHMARKS[name] for name in arguments.names or BENCHMARKS]
    form = "quick" if arguments.quick else "full"

    def adapt(sizes: Sizes) -> Sizes:
        if arguments.server:
            sizes = sizes.on(arguments.server)
        if arguments.endpoints:
            sizes = sizes.of(arguments.endpoints)
        changes = {"rounds": arguments.rounds, "outage_s": arguments.outage}
        return replace(sizes, **{name: value for name, value in changes.items() if value is not None})

    tune_collector()
    console = Console(stderr=True)
    if not console.is_terminal:
        said = ""

        def say(text: str) -> None:
            nonlocal said
            if text != said:
                print(said := text, file=sys.stderr, flush=True)

        return uvloop.run(run(chosen, form, say, adapt=adapt))
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        names = [benchmark.name for benchmark in chosen]
        task = progress.add_task("", total=len(chosen))

        def tell(text: str) -> None:
            done = names.index(text.partition(":")[0])
            progress.update(task, description=text, completed=done)

        return uvloop.run(run(chosen, form, tell, adapt=adapt))


if __name__ == "__main__":
    main()
