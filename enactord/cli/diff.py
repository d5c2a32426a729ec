"""diff: a plan against the ledger, or against another plan."""

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from enactord.cli.opening import open_scope
from enactord.cli.plans import missing
from enactord.cli.program import common, examples
from enactord.cli.terminal import Out, brief_content, deny, show
from enactord.core.contribution import is_handle
from enactord.core.plan import GENERATION_MAX
from enactord.core.refusal import Refusal
from enactord.daemon.operations import Denied, Scope, diff_plans, newest_plan, owned_contents
from enactord.operations import refused


@click.command(
    epilog=examples(
        """
enactorctl diff 103                 what plan 103 would change of what is applied
enactorctl diff 102 103
enactorctl diff 5f3a91c0b7d2e846    what a refused publication would change of the newest plan
"""
    )
)
@click.argument("what", metavar="GEN|DIGEST")
@click.argument("other", metavar="[GEN]", type=click.IntRange(min=1), required=False)
@common
def diff(what: str, other: int | None) -> int:
    """Show what a plan would change: against the ledger, or another plan; or a refused publication.

    GEN is a stored plan; with a second GEN, the change leads from the first to the second.
    DIGEST is a refused publication (see: enactorctl refused), against the newest plan.
    """
    found: dict[str, Any] | int | Denied
    if what.isdecimal() and 0 < int(what) < GENERATION_MAX:
        found = asyncio.run(_diff(int(what), other))
    elif is_handle(what) and other is None:
        found = asyncio.run(_diff_refused(what))
    else:
        raise click.UsageError(
            f"{what!r} is neither a generation (see: enactorctl plans) nor the digest of a refused publication"
            " (see: enactorctl refused); two plans are compared by their generations"
        )
    if isinstance(found, int):
        return missing(found)
    if isinstance(found, Denied):
        return deny(found)
    show(found, lambda out: print_diff(out, found))
    return 0


async def _diff_refused(handle: str) -> dict[str, Any] | Denied:
    async with open_scope() as scope:
        kept = await refused.find(scope.contributions, handle)
        if isinstance(kept, Refusal):
            return Denied(refusals=(kept,))
        newest = await newest_plan(scope)
        found = await refused.contrast(scope.plans.texts, newest, kept)
        return {"from": newest.generation if newest else 0, "to": kept.digest} | diff_plans(found.before, found.after)


async def _diff(generation: int, other: int | None) -> dict[str, Any] | int:
    async with open_scope() as scope:
        if other is None:
            after = await _contents(scope, generation)
            if after is None:
                return generation
            return {"from": "ledger", "to": generation} | diff_plans(owned_contents(await scope.mirror()), after)
        contents: list[Mapping[str, str]] = []
        for number in (generation, other):
            content = await _contents(scope, number)
            if content is None:
                return number
            contents.append(content)
        return {"from": generation, "to": other} | diff_plans(*contents)


async def _contents(scope: Scope, generation: int) -> dict[str, str] | None:
    manifest = await scope.plans.manifest(generation)
    return None if manifest is None else await scope.plans.endpoints(manifest)


def print_diff(out: Out, found: Mapping[str, Any]) -> None:
    """Print a diff document, sorted by name."""
    lines: list[tuple[str, str, str]] = []
    for change in found["added"]:
        line = f"+ {change['name']}  {brief_content(change['after'])}"
        lines.append((change["name"], line, "green"))
    for change in found["removed"]:
        line = f"- {change['name']}  {brief_content(change['before'])}"
        lines.append((change["name"], line, "red"))
    for change in found["changed"]:
        line = f"~ {change['name']}  {brief_content(change['before'])}\n  -> {brief_content(change['after'])}"
        lines.append((change["name"], line, "yellow"))
    for _, text, style in sorted(lines, key=lambda line: line[0]):
        for part in text.split("\n"):
            out.line((part, style))
    out.line(f"{len(found['added'])} added, {len(found['changed'])} changed, {len(found['removed'])} removed")
