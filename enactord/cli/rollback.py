"""rollback: an old plan's content as a new generation."""

import asyncio
import time
from typing import Any

import click

from enactord.cli.given import GENERATION, REASON
from enactord.cli.opening import open_scope
from enactord.cli.program import common, examples
from enactord.cli.publish import author_or_user, show_published, waiting
from enactord.cli.terminal import Bar, progress
from enactord.core.moment import parse_moment
from enactord.daemon.operations import Denied, Earlier, How, Published
from enactord.daemon.operations import rollback as roll_back


class Moment(click.ParamType):  # type: ignore[type-arg]  # not generic in all versions that serve
    """A moment, in seconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        try:
            return parse_moment(str(value), time.time())
        except ValueError as error:
            self.fail(str(error), param, context)


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
@common
def rollback(
    generation: int | None,
    at: float | None,
    whole: bool,
    reason: str,
    author: str | None,
    no_pause: bool,
    dry_run: bool,
    wait_s: float,
) -> int:
    """Publish plan GEN's content as a new generation: generations never go down.

    A rollback is an operator's order: guards that weigh change say what they see, and do not refuse it.
    It pauses the planner whose content it changes, until `enactorctl planner resume`.
    """
    if [generation is not None, at is not None, whole].count(True) != 1:
        raise click.UsageError("give one of: a generation, --to-time, --to-last-whole")
    what = Earlier(at=at) if generation is None else generation

    async def run(bar: Bar) -> Published | Denied:
        async with open_scope(wait_s=wait_s) as scope:
            return await roll_back(
                scope,
                what,
                author=author_or_user(author),
                reason=reason,
                how=How(dry_run=dry_run, stage=bar.stage),
                pause=not no_pause,
            )

    with progress("reading") as bar:
        done = asyncio.run(run(bar))
    return show_published(done)
