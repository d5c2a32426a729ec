"""refused: the publications that guards refused."""

from typing import TYPE_CHECKING, Any

import click

from enactord.cli.program import anywhere, examples
from enactord.cli.source import read
from enactord.cli.terminal import Out, show
from enactord.core.contribution import mark_of
from enactord.core.moment import utc

if TYPE_CHECKING:
    from enactord.cli.opening import Tools


@click.command(
    epilog=examples(
        """
enactorctl refused
enactorctl diff 5f3a91c0b7d2e846
enactorctl publish --approve 5f3a91c0b7d2e846 --reason "the old region is gone, agreed with its team"
"""
    )
)
@anywhere
def refused() -> None:
    """List the publications that guards refused, with the digest to approve each by.

    Of each planner, the last refused publication is kept, until the planner publishes a plan that
    passes, or an operator approves it.
    """

    document = read(lambda enactor: enactor.get("refused"), _from_store)
    show(document, lambda out: _print(out, document["refused"]))


async def _from_store(tools: "Tools") -> dict[str, Any]:
    from enactord.operations.documents import contribution_document  # `status` imports this module, and not that one

    return {"refused": [contribution_document(kept) for kept in await tools.scope.contributions.stored()]}


def told_refused(kept: dict[str, Any]) -> str:
    """Return what a refused publication is, in a sentence."""
    mark, guards = mark_of(kept["digest"]), sorted({refusal["guard"] for refusal in kept["refusals"]})
    again = f", {kept['times']} times since {utc(kept['first_at'])}" if kept["times"] > 1 else ""
    by = ", ".join(guards)
    return f"its publication of {utc(kept['last_at'])} was REFUSED ({by}){again}; see: enactorctl diff {mark}"


def _print(out: Out, found: list[dict[str, Any]]) -> None:
    if not found:
        out.line("no publication of a planner is refused")
    for kept in found:
        mark = mark_of(kept["digest"])
        what = "the whole scope" if kept["whole"] else "changes"
        out.line((f"{mark}  planner {kept['planner']}, by {kept['author']}: {what}, {kept['names']} endpoints", "bold"))
        often = f"{kept['times']} times, first {utc(kept['first_at'])}" if kept["times"] > 1 else "once"
        out.line(f"  refused {often}, last {utc(kept['last_at'])}, when plan {kept['newest']} was the newest")
        for refusal in kept["refusals"]:
            out.line((f"  {refusal['guard']}: {refusal['detail']}", "yellow"))
        out.line(f"  what it would change: enactorctl diff {mark}")
        out.line(f'  publish exactly this: enactorctl publish --approve {mark} --reason "…"')
