"""planners, planner: which planners there are; keep one from publishing, and let it go on."""

import asyncio
from typing import Any

import click

from enactord.cli.given import REASON
from enactord.cli.opening import open_scope
from enactord.cli.program import Verbs, common, examples
from enactord.cli.publish import author_or_user
from enactord.cli.terminal import Out, show, tell_done
from enactord.core.moment import utc
from enactord.daemon import operations
from enactord.daemon.operations import pauses_document, planners_document
from enactord.registry.planners import DEFAULT, Pause, check_planner


def _planner(context: click.Context, parameter: click.Parameter, value: str) -> str:
    wrong = check_planner(value)
    if wrong:
        raise click.BadParameter(wrong)
    return value


named = click.argument("planner", metavar="[PLANNER]", default=DEFAULT, callback=_planner)


@click.command(epilog=examples("enactorctl planners\nenactorctl planners --json"))
@common
def planners() -> None:
    """List the planners, and which of them are paused, by whom and why.

    Plans that name no planner are of planner `default`.
    """

    async def run() -> dict[str, Pause]:
        async with open_scope() as scope:
            return (await scope.mirror()).paused

    document = {"planners": planners_document(asyncio.run(run()))}
    show(document, lambda out: _print(out, document["planners"]))


@click.group(
    cls=Verbs,
    epilog=examples('enactorctl planner pause --reason "its inventory is being rebuilt"\nenactorctl planner resume'),
)
@common
def planner() -> None:
    """Keep a planner from publishing, and let it go on.

    What a paused planner publishes is refused. A rollback pauses the planner whose content it changes. Plans that name
    no planner are of planner `default`. To see which planners are paused: enactorctl planners.
    """


@planner.command(epilog=examples('enactorctl planner pause --reason "its inventory is being rebuilt"'))
@named
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; shown to everybody.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@common
def pause(planner: str, reason: str, author: str | None) -> None:
    """Refuse what a planner publishes, until it is resumed."""

    async def run() -> Pause:
        async with open_scope() as scope:
            return await operations.pause(scope, planner, reason=reason, author=author_or_user(author))

    paused = asyncio.run(run())
    text = f"planner {planner} is paused; to go on: enactorctl planner resume {planner}"
    tell_done(lambda: {"paused": pauses_document({planner: paused})}, lambda out: out.line(text))


@planner.command(epilog=examples("enactorctl planner resume"))
@named
@click.option("--reason", metavar="TEXT", default="", help="Why; the audit log keeps it.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@common
def resume(planner: str, reason: str, author: str | None) -> None:
    """Let a planner publish again; no pause is no error."""

    async def run() -> Pause | None:
        async with open_scope() as scope:
            return await operations.resume(scope, planner, author=author_or_user(author), reason=reason)

    before = asyncio.run(run())
    told = f"planner {planner} goes on"
    text = f"planner {planner} was not paused" if before is None else f"{told}; was paused by {before.author}"
    was = None if before is None else pauses_document({planner: before})[0]
    tell_done(lambda: {"planner": planner, "was": was}, lambda out: out.line(text))


def _print(out: Out, planners: list[dict[str, Any]]) -> None:
    rows = [[each["planner"], "publishes" if each["paused"] is None else _paused(each["paused"])] for each in planners]
    out.table(("planner", "state"), rows)


def _paused(pause: dict[str, Any]) -> str:
    return f"paused since {utc(pause['at'])} by {pause['author']}: {pause['reason']}"
