"""diff: a plan against the ledger, or against another plan."""

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from enactord.cli.given import GENERATION
from enactord.cli.opening import open_scope
from enactord.cli.plans import missing
from enactord.cli.program import common, examples
from enactord.cli.terminal import Out, brief_content, show
from enactord.daemon.operations import Scope, diff_plans, owned_contents


@click.command(
    epilog=examples("enactorctl diff 103        what plan 103 would change of what is applied\nenactorctl diff 102 103")
)
@click.argument("generation", metavar="GEN", type=GENERATION)
@click.argument("other", metavar="[GEN]", type=GENERATION, required=False)
@common
def diff(generation: int, other: int | None) -> int:
    """Show what leads from the ledger to plan GEN, or from the first plan to the second."""
    found = asyncio.run(_diff(generation, other))
    if isinstance(found, int):
        return missing(found)
    show(found, lambda out: print_diff(out, found))
    return 0


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
