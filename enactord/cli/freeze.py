"""freeze, thaw: the operator's switch."""

import asyncio

import click

from enactord.cli.given import REASON
from enactord.cli.opening import open_scope
from enactord.cli.program import common, examples
from enactord.cli.publish import author_or_user
from enactord.cli.terminal import tell_done
from enactord.core.moment import utc
from enactord.daemon import operations
from enactord.daemon.operations import freeze_document
from enactord.registry.control import Freeze


@click.command(
    epilog=examples(
        'enactorctl freeze --reason "INC-4711: looking"\nenactorctl freeze --repair-only --reason "change stop"'
    )
)
@click.option("--repair-only", is_flag=True, help="Apply no plan, but put back what drifts.")
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; shown to everybody.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@common
def freeze(repair_only: bool, reason: str, author: str | None) -> None:
    """Stop all writing to the zones (or all but repair) until `enactorctl thaw`."""
    mode = "repair-only" if repair_only else "all"

    async def run() -> Freeze:
        async with open_scope() as scope:
            return await operations.freeze(scope, mode=mode, reason=reason, author=author_or_user(author))

    frozen = asyncio.run(run())
    text = f"frozen ({mode}) by {frozen.author}: {reason}; undo with: enactorctl thaw"
    tell_done(lambda: {"frozen": freeze_document(frozen)}, lambda out: out.line(text))


@click.command(epilog=examples('enactorctl thaw\nenactorctl thaw --reason "INC-4711 is over"'))
@click.option("--reason", metavar="TEXT", default="", help="Why; the audit log keeps it.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@common
def thaw(reason: str, author: str | None) -> None:
    """Undo a freeze; none is no error.

    Who had frozen stays in the audit log: enactorctl audit.
    """

    async def run() -> Freeze | None:
        async with open_scope() as scope:
            return await operations.thaw(scope, author=author_or_user(author), reason=reason)

    before = asyncio.run(run())
    text = "thawed" if before is None else f"thawed; was frozen by {before.author} since {utc(before.since)}"
    tell_done(
        lambda: {"frozen": None, "before": freeze_document(before)},
        lambda out: out.line(text if before else "was not frozen"),
    )
