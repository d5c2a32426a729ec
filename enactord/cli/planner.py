"""planners, planner: which planners there are; keep one from publishing, and let it go on."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.given import REASON
from enactord.cli.program import Verbs, anywhere, examples
from enactord.cli.publish import author_or_user
from enactord.cli.source import read
from enactord.cli.terminal import Out, show, tell_done
from enactord.core.moment import utc
from enactord.operations import acts as operations
from enactord.operations.acts import pauses_document, planners_document, resumed_document
from enactord.store.planners import DEFAULT, check_planner

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


def _planner(context: click.Context, parameter: click.Parameter, value: str) -> str:
    wrong = check_planner(value)
    if wrong:
        raise click.BadParameter(wrong)
    return value


named = click.argument("planner", metavar="[PLANNER]", default=DEFAULT, callback=_planner)


@click.command(epilog=examples("enactorctl planners\nenactorctl planners --json"))
@anywhere
def planners() -> None:
    """List the planners, and which of them are paused, by whom and why.

    Plans that name no planner are of planner `default`.
    """
    document = read(lambda enactor: enactor.get("planners"), _from_store)
    show(document, lambda out: _print(out, document["planners"]))


async def _from_store(tools: "Tools") -> dict[str, Any]:
    return {"planners": planners_document((await tools.scope.cache()).paused)}


@click.group(
    cls=Verbs,
    epilog=examples('enactorctl planner pause --reason "its inventory is being rebuilt"\nenactorctl planner resume'),
)
@anywhere
def planner() -> None:
    """Keep a planner from publishing, and let it go on.

    What a paused planner publishes is refused. A rollback pauses the planner whose content it changes. Plans that name
    no planner are of planner `default`. To see which planners are paused: enactorctl planners.
    """


@planner.command(epilog=examples('enactorctl planner pause --reason "its inventory is being rebuilt"'))
@named
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; shown to everybody.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@anywhere
def pause(planner: str, reason: str, author: str | None) -> None:
    """Refuse what a planner publishes, until it is resumed."""
    document = read(partial(_order, planner, "pause", reason, author), partial(_pause, planner, reason, author))
    text = f"planner {planner} is paused; to go on: enactorctl planner resume {planner}"
    tell_done(lambda: document, lambda out: out.line(text))


def _order(planner: str, what: str, reason: str, author: str | None, enactor: "Remote") -> dict[str, Any]:
    return enactor.post("planners", planner, what, order={"reason": reason or None, "author": author})


async def _pause(planner: str, reason: str, author: str | None, tools: "Tools") -> dict[str, Any]:
    paused = await operations.pause(tools.scope, planner, reason=reason, author=author_or_user(author))
    return {"paused": pauses_document({planner: paused})}


@planner.command(epilog=examples("enactorctl planner resume"))
@named
@click.option("--reason", metavar="TEXT", default="", help="Why; the audit log keeps it.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@anywhere
def resume(planner: str, reason: str, author: str | None) -> None:
    """Let a planner publish again; no pause is no error."""
    document = read(partial(_order, planner, "resume", reason, author), partial(_resume, planner, reason, author))
    tell_done(lambda: document, lambda out: _print_resumed(out, planner, document["before"]))


async def _resume(planner: str, reason: str, author: str | None, tools: "Tools") -> dict[str, Any]:
    before = await operations.resume(tools.scope, planner, author=author_or_user(author), reason=reason)
    return resumed_document(planner, before)


def _print_resumed(out: Out, planner: str, before: dict[str, Any] | None) -> None:
    told = "was not paused" if before is None else f"goes on; was paused by {before['author']}"
    out.line(f"planner {planner} {told}")


def _print(out: Out, planners: list[dict[str, Any]]) -> None:
    rows = [[each["planner"], "publishes" if each["paused"] is None else _paused(each["paused"])] for each in planners]
    out.table(("planner", "state"), rows)


def _paused(pause: dict[str, Any]) -> str:
    return f"paused since {utc(pause['at'])} by {pause['author']}: {pause['reason']}"
