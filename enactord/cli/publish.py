"""publish: a plan from a file, or an operator's approval of one."""

import asyncio
import getpass
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from enactord.cli.awaiting import Patience, Waited, waiting
from enactord.cli.diff import print_diff
from enactord.cli.opening import open_scope
from enactord.cli.plan_file import read_plan_file
from enactord.cli.program import OK, common, examples
from enactord.cli.terminal import Out, deny, progress, show, tell_done, warn
from enactord.core.contribution import is_handle
from enactord.core.plan import GENERATION_MAX, Draft
from enactord.daemon.operations import Denied, How, Published, Scope, approve, approve_refused
from enactord.daemon.operations import publish as publish_draft
from enactord.registry.plans import Orders


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
@common
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
        what = _what(plan, approved=approved)
        how = How(dry_run=dry_run, fail_on_held=fail_on_held, stage=bar.stage)

        async def run() -> tuple[Published | Denied, Waited | None]:
            async with open_scope(wait_s=patience.confirm_s) as scope:
                done = await _publish(scope, what, approved, author, reason, how)
                return done, await patience.wait(scope, done, bar)

        done, waited = asyncio.run(run())
    return show_published(done, waited)


def _what(plan: str, *, approved: bool) -> str | int | Draft:
    """Return what is to be published: a digest, a stored plan's generation, or a plan that was read."""
    stored = plan.isascii() and plan.isdecimal() and int(plan) < GENERATION_MAX
    handle = is_handle(plan) and not Path(plan).exists()
    if approved and (stored or handle):
        return int(plan) if stored else plan
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
    return read_plan_file(plan)


async def _publish(
    scope: Scope, what: str | int | Draft, approved: bool, author: str | None, reason: str, how: How
) -> Published | Denied:
    if isinstance(what, str):
        return await approve_refused(scope, what, author=author_or_user(author), reason=reason, how=how)
    if approved or isinstance(what, int):
        return await approve(scope, what, author=author_or_user(author), reason=reason, how=how)
    orders = Orders(author=author or what.author or author_or_user(None), reason=reason)
    return await publish_draft(scope, what, orders, how=how)


def show_published(
    done: Published | Denied, waited: Waited | None = None, *, also: Mapping[str, Any] = MappingProxyType({})
) -> int:
    """Show how a publication ended, and what came of waiting for it; returns the exit code.

    `also`: what its document says besides.
    """
    if isinstance(done, Denied):
        return deny(done)
    for warning in done.warnings:
        warn(warning)
    for held in done.held:
        warn(f"will be held: {held.name}: {held.refusal}")
    if done.dry_run:
        show({**done.document(), **also}, lambda out: _print(out, done))
        return OK
    document = {**done.document(), **also} | ({} if waited is None else {"waited": waited.document()})

    def people(out: Out) -> None:
        _print(out, done)
        if waited is not None:
            out.line((waited.text(), "" if waited.code == OK else "yellow"))

    tell_done(lambda: document, people)
    return OK if waited is None else waited.code


def _print(out: Out, done: Published) -> None:
    manifest, counts = done.manifest, done.counts
    if done.dry_run:
        print_diff(out, done.document()["diff"])
        for guard, text in done.seen:
            out.line(f"guard {guard}: {text}")
    would = "would be" if done.dry_run else ""
    told = ", ".join(
        (
            f"{would or 'published'} generation {manifest.generation}",
            f"digest {manifest.digest[:16]}…",
            f"{manifest.endpoints} endpoints",
            f"{counts['changed']} changed",
            f"{counts['added']} added",
            f"{counts['removed']} removed",
            f"{counts['held']} held",
        )
    )
    out.line(told + ("; nothing was stored" if done.dry_run else ""))
