"""limits: what the guards allow, kept in the store, the same for all enactors."""

import asyncio
from typing import Any

import click

from enactord.cli.given import REASON
from enactord.cli.opening import open_tools
from enactord.cli.program import Verbs, common, examples
from enactord.cli.publish import author_or_user
from enactord.cli.terminal import Out, deny, show, tell_done
from enactord.core.guards import LIMITS, Limits
from enactord.core.moment import utc
from enactord.operations.limits import set_limit
from enactord.operations.scope import Denied
from enactord.registry.limits import Ruling


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    epilog=examples(
        'enactorctl limits\nenactorctl limits set endpoints_removed_max_ratio 0.1 --reason "change freeze"'
    ),
)
@common
@click.pass_context
def limits(context: click.Context) -> None:
    """Show what the guards allow, and change it: the same for all enactors.

    The store keeps the limits. The [guard] table of the config seeds them when the first enactor starts.
    """
    if context.invoked_subcommand is not None:
        return

    async def run() -> tuple[Ruling, Limits]:
        async with open_tools() as tools:
            return tools.ruling, tools.config.guard

    ruling, configured = asyncio.run(run())
    document = _document(ruling, configured)
    show(document, lambda out: _print(out, document))


@limits.command("set", epilog=examples('enactorctl limits set targets_min 2 --reason "two zones at least"'))
@click.argument("key", metavar="KEY")
@click.argument("value", metavar="VALUE")
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; shown to everybody.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@common
def set_(key: str, value: str, reason: str, author: str | None) -> int:
    """Give one limit another value, for all enactors, at once.

    Plans that were refused are judged anew. Endpoints that are held are judged anew, too.
    """

    async def run() -> tuple[Ruling, Ruling, Limits] | Denied:
        async with open_tools() as tools:
            configured = tools.config.guard
            who = author_or_user(author)
            done = await set_limit(tools.scope, configured, key, value, author=who, reason=reason)
            return done if isinstance(done, Denied) else (*done, configured)

    try:
        done = asyncio.run(run())
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if isinstance(done, Denied):
        return deny(done)
    ruling, before, configured = done
    tell_done(lambda: _document(ruling, configured), lambda out: _print_change(out, ruling, before, configured, key))
    return 0


def _print_change(out: Out, ruling: Ruling, before: Ruling, configured: Limits, key: str) -> None:
    was, now = before.limits.by_name()[key], ruling.limits.by_name()[key]
    out.line(f"{key}: {_text(was)} -> {_text(now)}")
    if before.problem:
        out.line(("the stored limits were damaged: the strict ones in force are stored now; look at each", "red"))
        _print(out, _document(ruling, configured))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.15g}"


def _document(ruling: Ruling, configured: Limits) -> dict[str, Any]:
    return {
        "limits": [
            {
                "key": key.name,
                "value": ruling.limits[key],
                "default": LIMITS[key],
                "config": configured[key],
                "takes": key.takes,
                "meaning": key.meaning,
            }
            for key in Limits.KEYS
        ],
        "author": ruling.author,
        "reason": ruling.reason,
        "at": ruling.at,
        "problem": ruling.problem,
    }


def _print(out: Out, document: dict[str, Any]) -> None:
    if document["problem"]:
        out.line((document["problem"], "red"))
    rows = [[one["key"], _text(one["value"]), _text(one["default"]), one["meaning"]] for one in document["limits"]]
    out.table(("limit", "value", "default", "meaning"), rows)
    if document["at"]:
        out.line(f"set by {document['author']} at {utc(document['at'])}: {document['reason']}")
    elif not document["problem"]:
        out.line("the store has no limits yet: these are of this config, and the first enactor puts them there")
    for one in document["limits"]:
        if one["config"] != one["value"]:
            told = f"{one['key']}: this config says {_text(one['config'])}, which counts for a store without limits"
            out.line((told, "yellow"))
