"""limits: what the guards allow, kept in the store, the same for all enactors."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.given import REASON
from enactord.cli.program import Verbs, anywhere, examples
from enactord.cli.publish import author_or_user
from enactord.cli.source import ask, read
from enactord.cli.terminal import Out, deny, show, tell_done
from enactord.core.moment import utc
from enactord.operations.limits import changed_document, limits_document, set_limit
from enactord.operations.scope import Denied

if TYPE_CHECKING:
    from enactord.cli.opening import Tools


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    epilog=examples(
        'enactorctl limits\nenactorctl limits set endpoints_removed_max_ratio 0.1 --reason "change freeze"'
    ),
)
@anywhere
@click.pass_context
def limits(context: click.Context) -> None:
    """Show what the guards allow, and change it: the same for all enactors.

    The store keeps the limits. The [guard] table of the config seeds them when the first enactor starts.
    """
    if context.invoked_subcommand is not None:
        return
    document = read(lambda enactor: enactor.get("limits"), _from_store)
    show(document, lambda out: _print(out, document))


async def _from_store(tools: "Tools") -> dict[str, Any]:
    return limits_document(tools.ruling, tools.config.guard)


@limits.command("set", epilog=examples('enactorctl limits set targets_min 2 --reason "two zones at least"'))
@click.argument("key", metavar="KEY")
@click.argument("value", metavar="VALUE")
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; shown to everybody.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@anywhere
def set_(key: str, value: str, reason: str, author: str | None) -> int:
    """Give one limit another value, for all enactors, at once.

    Plans that were refused are judged anew. Endpoints that are held are judged anew, too.
    """
    order = {"key": key, "value": value, "reason": reason, "author": author}
    done = ask(lambda enactor: enactor.post("limits", order=order), partial(_set, key, value, reason, author))
    if isinstance(done, Denied):
        return deny(done)
    tell_done(lambda: done, lambda out: _print_change(out, done))
    return 0


async def _set(key: str, value: str, reason: str, author: str | None, tools: "Tools") -> dict[str, Any] | Denied:
    configured, who = tools.config.guard, author_or_user(author)
    try:
        done = await set_limit(tools.scope, configured, key, value, author=who, reason=reason)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return done if isinstance(done, Denied) else changed_document(*done, configured, key)


def _print_change(out: Out, document: dict[str, Any]) -> None:
    changed = document["changed"]
    out.line(f"{changed['key']}: {_text(changed['was'])} -> {_text(changed['now'])}")
    if changed["problem_before"]:
        out.line(("the stored limits were damaged: the strict ones in force are stored now; look at each", "red"))
        _print(out, document)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.15g}"


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
