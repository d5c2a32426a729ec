"""publish: a plan from a file, or an operator's approval of one."""

import getpass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.awaiting import Patience, waiting
from enactord.cli.diff import print_diff
from enactord.cli.plan_file import parse_document, read_document
from enactord.cli.program import OK, anywhere, examples
from enactord.cli.source import ask
from enactord.cli.terminal import Bar, Out, deny, progress, show, tell_done, warn
from enactord.core.contribution import is_handle
from enactord.core.plan import GENERATION_MAX, Draft
from enactord.core.refusal import Refusal
from enactord.operations.acts import Denied, How, Published, approve, approve_refused
from enactord.operations.acts import publish as publish_draft
from enactord.store.plans import Orders

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


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
enactorctl publish plan.json --fail-on-held --wait
enactorctl publish --approve 5f3a91c0b7d2e846 --reason "the old region is gone, agreed with its team"
enactorctl publish 104 --approve --reason "half of us-east-1 is being rebuilt, agreed with the network team"
"""
    )
)
@click.argument("plan", metavar="PLAN.json|DIGEST|GEN")
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
    patience: Patience,
) -> int:
    """Publish a plan ("-": from stdin); prints the generation that it was given.

    With --approve, PLAN may be the digest of a refused publication (see: enactorctl refused):
    exactly that is merged onto the newest plan, and published as an approved generation. Or it is
    a stored plan's generation: its content is published anew, approved. The generation that a
    publication gets is above the newest plan, and above every fence that enactors report; a plan
    that no enactor could confirm is published with a warning.
    """
    if approved and not reason:
        raise click.UsageError('--approve needs a reason, which is kept: --reason "…"')
    with progress("reading") as bar:
        what, document = _what(plan, approved=approved)
        how = How(dry_run=dry_run, fail_on_held=fail_on_held, stage=bar.stage)
        done = ask(
            partial(_over_http, what, document, approved, author, reason, how, patience, bar),
            partial(_by_store, what, approved, author, reason, how, patience, bar),
            wait_s=patience.confirm_s,
        )
    return show_published(done)


def _what(plan: str, *, approved: bool) -> tuple[str | int | Draft, bytes]:
    """Return what is to be published: a digest, a stored plan's generation, or a plan that was read, as it was read."""
    stored = plan.isascii() and plan.isdecimal() and int(plan) < GENERATION_MAX
    handle = is_handle(plan) and not Path(plan).exists()
    if approved and (stored or handle):
        return (int(plan) if stored else plan), b""
    if handle:
        raise click.UsageError(
            f"{plan} is a digest: look at it with `enactorctl diff {plan}`,"
            f" and approve it with `enactorctl publish --approve {plan} --reason …`"
        )
    if stored:
        raise click.UsageError(
            f"{plan} is a generation: bring it back with `enactorctl rollback {plan} --reason …`,"
            f" or approve it with `enactorctl publish {plan} --approve --reason …`"
        )
    if not plan:
        raise click.UsageError("no plan is named: give its file, or - for stdin")
    document = read_document(plan)
    return parse_document(plan, document), document


def _over_http(
    what: str | int | Draft,
    document: bytes,
    approved: bool,
    author: str | None,
    reason: str,
    how: How,
    patience: Patience,
    bar: Bar,
    enactor: "Remote",
) -> dict[str, Any]:
    given = {"dry_run": how.dry_run, "fail_on_held": how.fail_on_held, "reason": reason or None, "author": author}
    if isinstance(what, str):
        done = enactor.post("refused", what, "approve", order=given)
    elif isinstance(what, int):
        done = enactor.post("plans", what, "approve", order=given)
    else:
        flags = (given | {"approve": approved}).items()
        query = {key: "true" if value is True else value for key, value in flags if value}
        done = enactor.send("plans", body=document, query=query)
    return patience.over_http(enactor, done, bar)


async def _by_store(
    what: str | int | Draft,
    approved: bool,
    author: str | None,
    reason: str,
    how: How,
    patience: Patience,
    bar: Bar,
    tools: "Tools",
) -> dict[str, Any] | Denied:
    scope = tools.scope
    foreign = await tools.wiped_store()
    if foreign:
        return Denied(refusals=(Refusal(guard="installation", detail=foreign),))
    if isinstance(what, str):
        done = await approve_refused(scope, what, author=author_or_user(author), reason=reason, how=how)
    elif approved or isinstance(what, int):
        done = await approve(scope, what, author=author_or_user(author), reason=reason, how=how)
    else:
        orders = Orders(author=author or what.author or author_or_user(None), reason=reason)
        done = await publish_draft(scope, what, orders, how=how)
    return await patience.by_store(scope, shown(done), bar)


def shown(done: Published | Denied) -> dict[str, Any] | Denied:
    """Return how a publication ended, as it is shown."""
    return done if isinstance(done, Denied) else done.document()


def show_published(done: dict[str, Any] | Denied) -> int:
    """Show how a publication ended, and what came of waiting for it, by its document; returns the exit code."""
    if isinstance(done, Denied):
        return deny(done)
    for warning in done["warnings"]:
        warn(warning)
    for held in done["held"]:
        warn(f"will be held: {held['name']}: {held['guard']}: {held['detail']}")
    if done.get("dry_run"):
        show(done, lambda out: _print(out, done))
        return OK
    waited = done.get("waited")

    def people(out: Out) -> None:
        _print(out, done)
        if waited is not None:
            out.line((waited["text"], "" if waited["served"] else "yellow"))

    tell_done(lambda: done, people)
    return OK if waited is None else int(waited["code"])


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
