"""rollback: an old plan's content as a new generation."""

import asyncio

import click

from enactord.cli.opening import open_scope
from enactord.cli.program import common, examples
from enactord.cli.publish import author_or_user, show_published, waiting
from enactord.cli.terminal import Bar, progress
from enactord.daemon.operations import Denied, Published
from enactord.daemon.operations import rollback as roll_back


@click.command(epilog=examples('enactorctl rollback 101 --reason "102 points at the wrong load balancers"'))
@click.argument("generation", metavar="GEN", type=click.IntRange(min=1))
@click.option("--reason", metavar="TEXT", required=True, help="Why; kept with the plan.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@click.option("--approve", "approved", is_flag=True, help="Let it pass the guards that weigh change.")
@click.option("--dry-run", is_flag=True, help="Store nothing; show what would change.")
@waiting
@common
def rollback(generation: int, reason: str, author: str | None, approved: bool, dry_run: bool, wait_s: float) -> int:
    """Publish plan GEN's content as a new generation: generations never go down."""

    async def run(bar: Bar) -> Published | Denied:
        async with open_scope(wait_s=wait_s) as scope:
            return await roll_back(
                scope,
                generation,
                author=author_or_user(author),
                reason=reason,
                approved=approved,
                dry_run=dry_run,
                stage=bar.stage,
            )

    with progress("reading") as bar:
        done = asyncio.run(run(bar))
    return show_published(done)
