"""freeze, thaw: the operator's switch."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.given import REASON
from enactord.cli.program import anywhere, examples
from enactord.cli.publish import author_or_user
from enactord.cli.source import read
from enactord.cli.terminal import Out, tell_done
from enactord.core.moment import utc
from enactord.operations import acts as operations
from enactord.operations.acts import freeze_document

if TYPE_CHECKING:
    from enactord.cli.opening import Tools


@click.command(
    epilog=examples(
        'enactorctl freeze --reason "INC-4711: looking"\nenactorctl freeze --repair-only --reason "change stop"'
    )
)
@click.option("--repair-only", is_flag=True, help="Apply no plan, but put back what drifts.")
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; shown to everybody.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@anywhere
def freeze(repair_only: bool, reason: str, author: str | None) -> None:
    """Stop all writing to the zones (or all but repair) until `enactorctl thaw`."""
    mode = "repair-only" if repair_only else "all"
    order = {"mode": mode, "reason": reason, "author": author}
    document = read(lambda enactor: enactor.post("freeze", order=order), partial(_freeze, mode, reason, author))
    tell_done(lambda: document, lambda out: _print_frozen(out, document["frozen"]))


async def _freeze(mode: str, reason: str, author: str | None, tools: "Tools") -> dict[str, Any]:
    frozen = await operations.freeze(tools.scope, mode=mode, reason=reason, author=author_or_user(author))
    return {"frozen": freeze_document(frozen)}


@click.command(epilog=examples('enactorctl thaw\nenactorctl thaw --reason "INC-4711 is over"'))
@click.option("--reason", metavar="TEXT", default="", help="Why; the audit log keeps it.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@anywhere
def thaw(reason: str, author: str | None) -> None:
    """Undo a freeze; none is no error.

    Who had frozen stays in the audit log: enactorctl audit.
    """
    order = {"reason": reason or None, "author": author}
    document = read(lambda enactor: enactor.post("thaw", order=order), partial(_thaw, reason, author))
    tell_done(lambda: document, lambda out: _print_thawed(out, document["before"]))


async def _thaw(reason: str, author: str | None, tools: "Tools") -> dict[str, Any]:
    before = await operations.thaw(tools.scope, author=author_or_user(author), reason=reason)
    return {"frozen": None, "before": freeze_document(before)}


def _print_frozen(out: Out, frozen: dict[str, Any]) -> None:
    out.line(f"frozen ({frozen['mode']}) by {frozen['author']}: {frozen['reason']}; undo with: enactorctl thaw")


def _print_thawed(out: Out, before: dict[str, Any] | None) -> None:
    if before is None:
        out.line("was not frozen")
    else:
        out.line(f"thawed; was frozen by {before['author']} since {utc(before['since'])}")
