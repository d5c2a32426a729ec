"""diff: a plan against the ledger, or against another plan."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.given import GENERATION
from enactord.cli.plans import missing
from enactord.cli.program import anywhere, examples
from enactord.cli.source import read
from enactord.cli.terminal import Out, brief_content, show
from enactord.daemon.operations import Scope, diff_plans, owned_contents

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


@click.command(
    epilog=examples("enactorctl diff 103        what plan 103 would change of what is applied\nenactorctl diff 102 103")
)
@click.argument("generation", metavar="GEN", type=GENERATION)
@click.argument("other", metavar="[GEN]", type=GENERATION, required=False)
@anywhere
def diff(generation: int, other: int | None) -> int:
    """Show what leads from the ledger to plan GEN, or from the first plan to the second."""
    found = read(partial(_from_enactor, generation, other), partial(_from_store, generation, other))
    if isinstance(found, int):
        return missing(found)
    show(found, lambda out: print_diff(out, found))
    return 0


def _from_enactor(generation: int, other: int | None, enactor: "Remote") -> dict[str, Any] | int:
    before, after = ("ledger", generation) if other is None else (generation, other)
    for number in (generation, other):
        if number is not None and enactor.find("plans", number) is None:
            return number
    kinds: dict[str, list[Any]] = {"added": [], "removed": [], "changed": []}
    for page in enactor.pages("plans", after, "changes", cursor="after", limit=None, query={"from": before}):
        for kind, changes in kinds.items():
            changes += page[kind]
    return {"from": before, "to": after} | {kind: sorted(found, key=_name) for kind, found in kinds.items()}


async def _from_store(generation: int, other: int | None, tools: "Tools") -> dict[str, Any] | int:
    scope = tools.scope
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


def _name(change: Mapping[str, Any]) -> str:
    return str(change["name"])


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
