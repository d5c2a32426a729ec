"""python -m tests.model: every variant of the models, in every order of its steps."""

import json
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from tests.model.check import ModelError, programs_missing
from tests.model.variants import GROUPS, VARIANTS
from tests.model.verdicts import Verdict, judge_all, markdown

OUT = Console(highlight=False)


@click.command()
@click.option(
    "--variant", "names", multiple=True, metavar="NAME", help="This one alone, and the way to what it breaks."
)
@click.option("--full", is_flag=True, help="The larger worlds, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The tables of the documents.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Searches at once.")
def main(names: tuple[str, ...], full: bool, as_json: bool, as_markdown: bool, jobs: int) -> None:
    """Search the models' variants; exit code 1 where a verdict is not the expected one."""
    unknown = sorted(set(names) - {variant.name for variant in VARIANTS})
    if unknown:
        raise click.UsageError(f"no such variant: {', '.join(unknown)}")
    missing = programs_missing()
    if missing:
        raise click.ClickException(f"{' and '.join(missing)} not found; run: make setup")
    chosen = [variant for variant in VARIANTS if variant.name in names or (not names and (full or not variant.full))]
    columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=OUT, transient=True, disable=not OUT.is_terminal or as_json) as progress:
        bar = progress.add_task("", total=len(chosen))
        try:
            verdicts = judge_all(chosen, jobs, lambda _: progress.advance(bar))
        except ModelError as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([_document(verdict) for verdict in verdicts], indent=2))
    elif as_markdown:
        click.echo("\n".join(markdown(verdicts)))
    else:
        _print(verdicts, ways=bool(names))
    sys.exit(0 if all(verdict.expected for verdict in verdicts) else 1)


def _document(verdict: Verdict) -> dict[str, object]:
    variant = verdict.variant
    return {
        "variant": variant.name,
        "what": variant.what,
        "group": variant.group,
        "flags": dict(variant.flags),
        "rules": list(variant.rules),
        "broken": {rule: list(way) for rule, way in sorted(verdict.ways.items())},
        "must_break": list(variant.breaks),
        "expected": verdict.expected,
        "states": verdict.states,
        "seconds": round(verdict.seconds, 2),
    }


def _print(verdicts: Sequence[Verdict], *, ways: bool) -> None:
    for group in GROUPS:
        some = [verdict for verdict in verdicts if verdict.variant.group == group]
        if not some:
            continue
        table = Table(box=None)
        table.add_column("variant", no_wrap=True)
        table.add_column(group)
        table.add_column("breaks", no_wrap=True)
        table.add_column("states", justify="right", no_wrap=True)
        table.add_column("seconds", justify="right", no_wrap=True)
        for verdict in some:
            broken = " ".join(verdict.broken) or "nothing"
            row = [verdict.variant.name, verdict.variant.what, broken, f"{verdict.states:,}", f"{verdict.seconds:.1f}"]
            table.add_row(*row, style=None if verdict.expected else "red")
        OUT.print(table)
        OUT.print()
    for verdict in verdicts:
        if ways or not verdict.expected:
            _print_ways(verdict)


def _print_ways(verdict: Verdict) -> None:
    """Print the shortest way to each rule that is broken, and what should have been found where that differs."""
    if not verdict.expected:
        meant = ", ".join(verdict.variant.breaks) or "nothing"
        OUT.print(
            f"{verdict.variant.name}: breaks {', '.join(verdict.broken) or 'nothing'}, expected: {meant}", style="red"
        )
    for rule, way in sorted(verdict.ways.items()):
        OUT.print(f"{verdict.variant.name}, the shortest way to break {rule}:")
        for number, step in enumerate(way, 1):
            OUT.print(f"  {number:2}. {step}", soft_wrap=True)


if __name__ == "__main__":
    main()
