"""publish: a plan from a file, or an operator's approval of one."""

import asyncio
import getpass

import click

from enactord.cli.diff import print_diff
from enactord.cli.opening import open_scope
from enactord.cli.plan_file import parse_document, read_document
from enactord.cli.program import F, common, examples
from enactord.cli.terminal import Out, deny, progress, show, tell_done, warn
from enactord.daemon.operations import Denied, How, Published, approve
from enactord.daemon.operations import publish as publish_draft
from enactord.registry.plans import Orders
from enactord.registry.reports import WAIT_S


def waiting(command: F) -> F:
    """Give a command the option --wait of publications."""
    return click.option(
        "--wait",
        "wait_s",
        metavar="SECONDS",
        type=click.FloatRange(0, 600),
        default=WAIT_S,
        show_default=True,
        help="How long to wait for an enactor to report the fences that stand; then publish as unconfirmed.",
    )(command)


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
@common
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
        what = int(plan) if stored else parse_document(plan, read_document(plan))
        how = How(dry_run=dry_run, fail_on_held=fail_on_held, stage=bar.stage)

        async def run() -> Published | Denied:
            async with open_scope(wait_s=wait_s) as scope:
                if approved or isinstance(what, int):
                    return await approve(scope, what, author=author_or_user(author), reason=reason, how=how)
                orders = Orders(author=author or what.author or author_or_user(None), reason=reason)
                return await publish_draft(scope, what, orders, how=how)

        done = asyncio.run(run())
    return show_published(done)


def show_published(done: Published | Denied) -> int:
    """Show how a publication ended; returns the exit code."""
    if isinstance(done, Denied):
        return deny(done)
    for warning in done.warnings:
        warn(warning)
    for held in done.held:
        warn(f"will be held: {held.name}: {held.refusal}")
    if done.dry_run:
        show(done.document(), lambda out: _print(out, done))
    else:
        tell_done(done.document, lambda out: _print(out, done))
    return 0


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
