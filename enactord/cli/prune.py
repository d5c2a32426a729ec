"""prune: delete plans that nothing can need any more."""

import asyncio
from typing import Any

import click

from enactord.cli.opening import open_tools
from enactord.cli.program import common, examples
from enactord.cli.terminal import Out, show, tell_done
from enactord.engine.pruner import Pruner, Verdict
from enactord.operations.scope import Unheard


@click.command(epilog=examples("enactorctl prune --dry-run\nenactorctl prune"))
@click.option("--dry-run", is_flag=True, help="Delete nothing; show what would go, and who holds the rest.")
@common
def prune(dry_run: bool) -> None:
    """Delete plans that nothing can need any more; shows why each other one stays."""
    verdicts = asyncio.run(_prune(dry_run))
    document: dict[str, Any] = {
        "dry_run": dry_run,
        "pruned": [verdict.generation for verdict in verdicts if verdict.refusal is None],
        "kept": [
            {"generation": v.generation, "guard": v.refusal.guard, "detail": v.refusal.detail}
            for v in verdicts
            if v.refusal is not None
        ],
    }
    if dry_run:
        show(document, lambda out: _print(out, verdicts, dry_run))
    else:
        tell_done(lambda: document, lambda out: _print(out, verdicts, dry_run))


async def _prune(dry_run: bool) -> list[Verdict]:
    async with open_tools() as tools:
        scope = tools.scope
        pruner = Pruner(
            scope.store,
            scope.name,
            zones=scope.zones,
            keep=tools.settings.keep,
            clock=scope.clock,
            observer=Unheard(),
        )
        return await pruner.prune(dry_run=dry_run)


def _print(out: Out, verdicts: list[Verdict], dry_run: bool) -> None:
    gone = "would go" if dry_run else "pruned"
    rows = [[v.generation, gone if v.refusal is None else f"stays: {v.refusal.detail}"] for v in verdicts]
    out.table(("generation", "verdict"), rows)
    out.line(f"{sum(v.refusal is None for v in verdicts)} of {len(verdicts)} plans {gone}")
