"""publish: a plan from a file, or an operator's approval of one."""

import getpass
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from enactord.cli.diff import print_diff
from enactord.cli.plan_file import parse_document, read_document
from enactord.cli.program import F, anywhere, enactor_url, examples
from enactord.cli.source import ask
from enactord.cli.terminal import Out, deny, progress, show, tell_done, warn
from enactord.core.plan import Draft
from enactord.daemon.operations import Denied, How, Published, approve
from enactord.daemon.operations import publish as publish_draft
from enactord.registry.plans import Orders
from enactord.registry.reports import WAIT_S

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


def waiting(command: F) -> F:
    """Give a command the option --wait of publications."""
    return click.option(
        "--wait",
        "wait_s",
        metavar="SECONDS",
        type=click.FloatRange(0, 600),
        default=WAIT_S,
        show_default=True,
        callback=_wait_s,
        help="How long to wait for an enactor to report the fences that stand; then publish as unconfirmed.",
    )(command)


def _wait_s(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """Return how long to wait; an enactor that is asked over HTTP knows that by itself."""
    assert parameter.name is not None
    if context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE and enactor_url():
        raise click.BadParameter("an enactor that publishes over HTTP waits by its own limits; leave it out")
    return value


def author_or_user(author: str | None) -> str:
    """Return who it is that says so: --author, or the user's name."""
    if author:
        return author
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


@click.command(
    epilog=examples(
        """
enactorctl publish plan.json --dry-run
enactorctl publish plan.json
enactorctl publish plan.json --fail-on-held
enactorctl publish 104 --approve --reason "half of us-east-1 is being rebuilt, agreed with the network team"
"""
    )
)
@click.argument("plan", metavar="PLAN.json|GEN")
@click.option("--dry-run", is_flag=True, help="Store nothing; show what would change.")
@click.option("--approve", "approved", is_flag=True, help="Let this exact plan pass the guards that weigh change.")
@click.option("--reason", metavar="TEXT", default="", help="Why; kept with the plan. Needed with --approve.")
@click.option("--author", metavar="NAME", help="Who says so [default: the plan's author; with --approve, you].")
@click.option("--fail-on-held", is_flag=True, help="Publish nothing, and exit 1, if an endpoint would be held.")
@waiting
@anywhere
def publish(
    plan: str,
    dry_run: bool,
    approved: bool,
    reason: str,
    author: str | None,
    fail_on_held: bool,
    wait_s: float,
) -> int:
    """Publish a plan ("-": from stdin); prints the generation that it was given.

    With --approve, PLAN may be a stored plan's generation: its content is published anew
    as an approved generation. The generation is above the newest plan and above every fence
    that enactors report; a plan that no enactor could confirm is published with a warning.
    """
    if approved and not reason:
        raise click.UsageError('--approve needs a reason, which is kept: --reason "…"')
    stored = plan.isdecimal()
    if stored and not approved:
        raise click.UsageError(
            f"{plan} is a generation: bring it back with `enactorctl rollback {plan} --reason …`,"
            f" or approve it with `enactorctl publish {plan} --approve --reason …`"
        )
    with progress("reading") as bar:
        document = b"" if stored else read_document(plan)
        what = int(plan) if stored else parse_document(plan, document)
        how = How(dry_run=dry_run, fail_on_held=fail_on_held, stage=bar.stage)
        over_http = partial(_over_http, what, document, approved, author, reason, how)
        done = ask(over_http, partial(_by_store, what, approved, author, reason, how), wait_s=wait_s)
    return show_published(done)


def _over_http(
    what: Draft | int, document: bytes, approved: bool, author: str | None, reason: str, how: How, enactor: "Remote"
) -> dict[str, Any]:
    given = {"dry_run": how.dry_run, "fail_on_held": how.fail_on_held, "reason": reason or None, "author": author}
    if isinstance(what, int):
        return enactor.post("plans", what, "approve", order=given)
    flags = {key: "true" if value is True else value for key, value in (given | {"approve": approved}).items() if value}
    return enactor.send("plans", body=document, query=flags)


async def _by_store(
    what: Draft | int, approved: bool, author: str | None, reason: str, how: How, tools: "Tools"
) -> dict[str, Any] | Denied:
    if approved or isinstance(what, int):
        done = await approve(tools.scope, what, author=author_or_user(author), reason=reason, how=how)
    else:
        orders = Orders(author=author or what.author or author_or_user(None), reason=reason)
        done = await publish_draft(tools.scope, what, orders, how=how)
    return shown(done)


def shown(done: Published | Denied) -> dict[str, Any] | Denied:
    """Return how a publication ended, as it is shown."""
    return done if isinstance(done, Denied) else done.document()


def show_published(done: dict[str, Any] | Denied) -> int:
    """Show how a publication ended, by its document; returns the exit code."""
    if isinstance(done, Denied):
        return deny(done)
    for warning in done["warnings"]:
        warn(warning)
    for held in done["held"]:
        warn(f"will be held: {held['name']}: {held['guard']}: {held['detail']}")
    if done.get("dry_run"):
        show(done, lambda out: _print(out, done))
    else:
        tell_done(lambda: done, lambda out: _print(out, done))
    return 0


def _print(out: Out, done: dict[str, Any]) -> None:
    counts = done["counts"]
    if done["dry_run"]:
        print_diff(out, done["diff"])
        for seen in done["guards"]:
            out.line(f"guard {seen['guard']}: {seen['text']}")
    told = ", ".join(
        (
            f"{'would be' if done['dry_run'] else 'published'} generation {done['generation']}",
            f"digest {done['digest'][:16]}…",
            f"{done['endpoints']} endpoints",
            f"{counts['changed']} changed",
            f"{counts['added']} added",
            f"{counts['removed']} removed",
            f"{counts['held']} held",
        )
    )
    out.line(told + ("; nothing was stored" if done["dry_run"] else ""))
