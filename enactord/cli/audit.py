"""audit: what operators and planners did to the scope."""

import asyncio
from collections.abc import Sequence

import click

from enactord.cli.opening import open_scope
from enactord.cli.program import common, examples
from enactord.cli.rollback import Moment
from enactord.cli.terminal import Out, show
from enactord.core.moment import utc
from enactord.operations import audit as log
from enactord.registry.audit import ROOM_MAX, ROOMS, Act

_ALL = len(ROOMS) * ROOM_MAX


@click.command(epilog=examples("enactorctl audit\nenactorctl audit --since 2h\nenactorctl audit --limit 500 --json"))
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, _ALL),
    default=50,
    show_default=True,
    help="How many at most.",
)
@click.option("--since", metavar="TIME", type=Moment(), help="Only later ones: ISO 8601, or 15m ago.")
@common
def audit(limit: int, since: float | None) -> None:
    """Show what operators and planners did, newest first.

    Each line says when, who, in which role, what and why. The role is that of the token, or "command line": whoever can
    read the config and reach the store. Names of tokens are checked; an author of the command line is who it was told.
    The store keeps the last week, and of each author and deed the newest 200. Where that is too much, it keeps less of
    the hours in which one author did one thing most often.
    """

    async def run() -> tuple[list[Act], str]:
        async with open_scope() as scope:
            return await log.acts(scope, limit=limit, since=since or 0.0)

    acts, older = asyncio.run(run())
    document = {"audit": [act.document() for act in acts], "complete": not older}
    show(document, lambda out: _print(out, acts, older=bool(older)))


def _print(out: Out, acts: Sequence[Act], *, older: bool) -> None:
    if not acts:
        out.line("nothing was done")
        return
    out.table(
        ("time", "author", "role", "deed", "generation", "what", "reason"),
        [[utc(a.at), a.author, a.role, a.deed, a.generation or "-", _facts(a) or "-", a.reason or "-"] for a in acts],
    )
    if older:
        out.line("there are older ones; to see more: --limit")


def _facts(act: Act) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {fact}" for name, fact in act.facts.items())
