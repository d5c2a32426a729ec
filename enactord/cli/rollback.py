"""rollback: an old plan's content as a new generation."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.awaiting import Patience, waiting
from enactord.cli.given import GENERATION, REASON
from enactord.cli.program import anywhere, examples
from enactord.cli.publish import author_or_user, show_published, shown
from enactord.cli.source import ask
from enactord.cli.terminal import Bar, progress
from enactord.cli.times import Moment
from enactord.operations.acts import Denied, Earlier, How
from enactord.operations.acts import rollback as roll_back

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


@click.command(
    epilog=examples(
        'enactorctl rollback 101 --reason "102 points at the wrong load balancers"\n'
        'enactorctl rollback --to-time 15m --reason "as it was before the deploy"\n'
        'enactorctl rollback --to-last-whole --reason "the planner dropped names" --dry-run'
    )
)
@click.argument("generation", metavar="[GEN]", type=GENERATION, required=False)
@click.option("--to-time", "at", metavar="TIME", type=Moment(), help="The plan in force then: ISO 8601, or 15m ago.")
@click.option(
    "--to-last-whole", "whole", is_flag=True, help="The newest plan with at least 95 % of the largest one's names."
)
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; kept with the plan.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@click.option("--no-pause", is_flag=True, help="Let the planner go on, though it may bring back what is undone.")
@click.option("--dry-run", is_flag=True, help="Store nothing; show what would change.")
@waiting
@anywhere
def rollback(
    generation: int | None,
    at: float | None,
    whole: bool,
    reason: str,
    author: str | None,
    no_pause: bool,
    dry_run: bool,
    patience: Patience,
) -> int:
    """Publish plan GEN's content as a new generation: generations never go down.

    A rollback is an operator's order: guards that weigh change say what they see, and do not refuse it.
    It pauses the planner whose content it changes, until `enactorctl planner resume`.
    """
    if [generation is not None, at is not None, whole].count(True) != 1:
        raise click.UsageError("give one of: a generation, --to-time, --to-last-whole")
    what = Earlier(at=at) if generation is None else generation
    pause = not no_pause
    with progress("reading") as bar:
        how = How(dry_run=dry_run, stage=bar.stage)
        done = ask(
            partial(_over_http, what, author, reason, dry_run, pause, patience, bar),
            partial(_by_store, what, author, reason, how, pause, patience, bar),
            wait_s=patience.confirm_s,
        )
    return show_published(done)


def _over_http(
    what: int | Earlier,
    author: str | None,
    reason: str,
    dry_run: bool,
    pause: bool,
    patience: Patience,
    bar: Bar,
    enactor: "Remote",
) -> dict[str, Any]:
    order: dict[str, Any] = {"reason": reason, "author": author, "pause": pause, "dry_run": dry_run}
    match what:
        case int():
            order["generation"] = what
        case Earlier(at=None):
            order["to_last_whole"] = True
        case Earlier(at=float() as at):
            order["to_time"] = datetime.fromtimestamp(at, UTC).isoformat()
    return patience.over_http(enactor, enactor.post("rollback", order=order), bar)


async def _by_store(
    what: int | Earlier,
    author: str | None,
    reason: str,
    how: How,
    pause: bool,
    patience: Patience,
    bar: Bar,
    tools: "Tools",
) -> dict[str, Any] | Denied:
    who = author_or_user(author)
    done = await roll_back(tools.scope, what, author=who, reason=reason, how=how, pause=pause)
    return await patience.by_store(tools.scope, shown(done), bar)
