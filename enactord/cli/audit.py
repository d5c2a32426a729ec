"""audit: what operators and planners did to the scope."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.program import anywhere, examples
from enactord.cli.source import read
from enactord.cli.terminal import Out, show
from enactord.cli.times import Moment
from enactord.core.moment import utc
from enactord.operations import audit as log
from enactord.store.audit import ROOM_MAX, ROOMS

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote

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
@anywhere
def audit(limit: int, since: float | None) -> None:
    """Show what operators and planners did, newest first.

    Each line says when, who, in which role, what and why. The role is that of the token, or "command line": whoever can
    read the config and reach the store. Names of tokens are checked; an author of the command line is who it was told.
    The store keeps the last week, and of each author and deed the newest 200. Where that is too much, it keeps less of
    the hours in which one author did one thing most often.
    """
    document = read(partial(_from_enactor, limit, since or 0.0), partial(_from_store, limit, since or 0.0))
    show(document, lambda out: _print(out, document))


def _from_enactor(limit: int, since: float, enactor: "Remote") -> dict[str, Any]:
    later = {"since": datetime.fromtimestamp(since, UTC).isoformat()} if since else {}
    pages = list(enactor.pages("audit", cursor="before", limit=limit, query=later))
    return {"audit": [act for page in pages for act in page["audit"]], "complete": pages[-1]["next"] is None}


async def _from_store(limit: int, since: float, tools: "Tools") -> dict[str, Any]:
    acts, older = await log.acts(tools.scope, limit=limit, since=since)
    return {"audit": [act.document() for act in acts], "complete": not older}


def _print(out: Out, document: dict[str, Any]) -> None:
    acts = document["audit"]
    if not acts:
        out.line("nothing was done")
        return
    out.table(
        ("time", "author", "role", "deed", "generation", "what", "reason"),
        [
            [utc(a["at"]), a["author"], a["role"], a["deed"], a["generation"] or "-", _facts(a), a["reason"] or "-"]
            for a in acts
        ],
    )
    if not document["complete"]:
        out.line("there are older ones; to see more: --limit")


def _facts(act: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {fact}" for name, fact in act["facts"].items()) or "-"
