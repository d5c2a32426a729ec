"""override: one endpoint otherwise than its planner wants, for some hours."""

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.awaiting import Patience, waiting
from enactord.cli.given import REASON
from enactord.cli.program import Verbs, anywhere, examples
from enactord.cli.publish import author_or_user, show_published, shown
from enactord.cli.source import ask, read
from enactord.cli.terminal import Bar, Out, deny, progress, show, warn
from enactord.core.moment import parse_span, utc
from enactord.core.names import parse_name
from enactord.core.overrides import DRAIN, LASTS_MAX_S, PIN, WEIGHT
from enactord.operations.acts import Denied, How
from enactord.operations.override import end_override
from enactord.operations.override import override as override_endpoint
from enactord.operations.override_draft import Wanted

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote

_SET = "set"
_OF_SET = ("--drain", "--weight", "--pin", "--reason", "--for", "--author", "--approve", "--dry-run", "--wait")


class _NameFirst(Verbs):
    """A group in which a name stands where a verb may stand: `override NAME …` is `override set NAME …`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = itertools.takewhile(lambda word: word not in _OF_SET, args)
        if args and not {*self.commands, "-h", "--help"} & {*before}:
            args = [_SET, *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_NameFirst,
    subcommand_metavar="NAME [OPTIONS] | list | end ID",
    epilog=examples(
        """
enactorctl override api.example.com --drain 192.0.2.7 --for 2h --reason "INC-4711: that rack is on fire"
enactorctl override api.example.com --weight 192.0.2.8=5 --for 30m --reason "a little traffic, to see"
enactorctl override api.example.com --pin --for 12h --reason "no changes during the match"
enactorctl override list
enactorctl override end 9f3a1c --reason "the rack is back"
"""
    ),
)
@anywhere
def override() -> None:
    """Override one endpoint for some hours, whatever its planner publishes meanwhile.

    It is published at once as a new generation, and judged by the guards as any plan. The next plans
    are changed by it, too, until its time is over. Then the planner's own content is published again.
    """


def _span(context: click.Context, parameter: click.Parameter, value: str) -> float:
    try:
        seconds = parse_span(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not 0 < seconds <= LASTS_MAX_S:
        most = f"{LASTS_MAX_S / 3600:.0f}h"
        raise click.BadParameter(f"{value} is not from 1s to {most}; what should stay is the planner's to say")
    return seconds


def _weight(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, int] | None:
    if value is None:
        return None
    address, _, weight = value.rpartition("=")
    if not address or not weight.isdecimal() or len(weight) > 10:
        raise click.BadParameter(f"{value!r} is not ADDRESS=N, as 192.0.2.8=5")
    return address, int(weight)


@override.command(
    _SET,
    epilog=examples(
        'enactorctl override set api.example.com --drain 192.0.2.7 --for 2h --reason "INC-4711: that rack is on fire"'
    ),
)
@click.argument("name", metavar="NAME")
@click.option("--drain", metavar="ADDRESS", help="Give this address weight 0: it is not served.")
@click.option("--weight", metavar="ADDRESS=N", callback=_weight, help="Give this address another weight.")
@click.option("--pin", is_flag=True, help="Keep the name as it is applied now.")
@click.option("--for", "lasts_s", metavar="DURATION", required=True, callback=_span, help="90s, 15m, 3h; at most 24h.")
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; shown wherever the endpoint is.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@click.option("--approve", "approved", is_flag=True, help="Pass the guards that weigh change.")
@click.option("--dry-run", is_flag=True, help="Store nothing; show what would change.")
@waiting
@anywhere
def set_(
    name: str,
    drain: str | None,
    weight: tuple[str, int] | None,
    pin: bool,
    lasts_s: float,
    reason: str,
    author: str | None,
    approved: bool,
    dry_run: bool,
    patience: Patience,
) -> int:
    """Override the endpoint NAME; prints the generation, and the id by which it is ended."""
    wanted = _wanted(parse_name(name), drain, weight, pin, lasts_s)
    with progress("reading") as bar:
        how = How(dry_run=dry_run, stage=bar.stage)
        done = ask(
            partial(_over_http, wanted, author, reason, approved, dry_run, patience, bar),
            partial(_by_store, wanted, author, reason, approved, how, patience, bar),
            wait_s=patience.confirm_s,
        )
    if isinstance(done, Denied):
        return deny(done)
    made = done["override"]
    if not dry_run:
        told = f"{made['name']}: {made['what']} until {utc(made['until'])}"
        warn(f"{told}; to end it: enactorctl override end {made['id']}")
    return show_published(done)


def _over_http(
    wanted: Wanted,
    author: str | None,
    reason: str,
    approved: bool,
    dry_run: bool,
    patience: Patience,
    bar: Bar,
    enactor: "Remote",
) -> dict[str, Any]:
    order = {
        "name": wanted.name,
        "kind": wanted.kind,
        "address": wanted.address or None,
        "weight": wanted.weight if wanted.kind == WEIGHT else None,
        "lasts_s": wanted.lasts_s,
        "reason": reason,
        "author": author,
        "approve": approved,
        "dry_run": dry_run,
    }
    return patience.over_http(enactor, enactor.post("overrides", order=order), bar)


async def _by_store(
    wanted: Wanted,
    author: str | None,
    reason: str,
    approved: bool,
    how: How,
    patience: Patience,
    bar: Bar,
    tools: "Tools",
) -> dict[str, Any] | Denied:
    scope, who = tools.scope, author_or_user(author)
    done = await override_endpoint(scope, wanted, author=who, reason=reason, approved=approved, how=how)
    if isinstance(done, Denied):
        return done
    return await patience.by_store(scope, done.document(), bar)


def _wanted(name: str, drain: str | None, weight: tuple[str, int] | None, pin: bool, lasts_s: float) -> Wanted:
    if [drain is not None, weight is not None, pin].count(True) != 1:
        raise click.UsageError("give one of: --drain ADDRESS, --weight ADDRESS=N, --pin")
    if drain is not None:
        return Wanted(name=name, kind=DRAIN, address=drain, lasts_s=lasts_s)
    if weight is not None:
        return Wanted(name=name, kind=WEIGHT, address=weight[0], weight=weight[1], lasts_s=lasts_s)
    return Wanted(name=name, kind=PIN, lasts_s=lasts_s)


@override.command("list", epilog=examples("enactorctl override list"))
@anywhere
def list_() -> None:
    """List the overrides that are in force, by name."""
    document = read(lambda enactor: enactor.get("overrides"), _from_store)
    show(document, lambda out: _print(out, document["overrides"]))


async def _from_store(tools: "Tools") -> dict[str, Any]:
    return {"overrides": [one.document() for one in (await tools.scope.cache()).overrides]}


def _print(out: Out, found: list[dict[str, Any]]) -> None:
    if not found:
        out.line("no endpoint is overridden")
        return
    rows = [[one["id"], one["name"], one["what"], utc(one["until"]), one["author"], one["reason"]] for one in found]
    out.table(("id", "endpoint", "override", "until", "author", "reason"), rows)


@override.command("end", epilog=examples('enactorctl override end 9f3a1c --reason "the rack is back"'))
@click.argument("ident", metavar="ID")
@click.option("--reason", metavar="TEXT", default="ended by hand", show_default=True, help="Why; kept with the plan.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@click.option("--approve", "approved", is_flag=True, help="Pass the guards that weigh change.")
@waiting
@anywhere
def end(ident: str, reason: str, author: str | None, approved: bool, patience: Patience) -> int:
    """End an override now: what the planner wants of the endpoint is published again."""
    with progress("reading") as bar:
        how = How(stage=bar.stage)
        done = ask(
            partial(_end_over_http, ident, author, reason, approved, patience, bar),
            partial(_end_by_store, ident, author, reason, approved, how, patience, bar),
            wait_s=patience.confirm_s,
        )
    return show_published(done)


def _end_over_http(
    ident: str, author: str | None, reason: str, approved: bool, patience: Patience, bar: Bar, enactor: "Remote"
) -> dict[str, Any]:
    done = enactor.post("overrides", ident, "end", order={"reason": reason, "author": author, "approve": approved})
    return patience.over_http(enactor, done, bar)


async def _end_by_store(
    ident: str,
    author: str | None,
    reason: str,
    approved: bool,
    how: How,
    patience: Patience,
    bar: Bar,
    tools: "Tools",
) -> dict[str, Any] | Denied:
    who = author_or_user(author)
    done = await end_override(tools.scope, ident, author=who, reason=reason, approved=approved, how=how)
    return await patience.by_store(tools.scope, shown(done), bar)
