"""diff: a plan against the ledger, or against another plan."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.given import GENERATION
from enactord.cli.plans import missing
from enactord.cli.program import anywhere, examples
from enactord.cli.source import ask, read
from enactord.cli.terminal import Out, brief_content, deny, show
from enactord.core.contribution import is_handle
from enactord.core.plan import GENERATION_MAX
from enactord.core.refusal import Refusal
from enactord.operations import refused
from enactord.operations.acts import Denied, Scope, diff_plans, newest_plan, owned_contents

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


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
@click.argument("other", metavar="[GEN]", type=GENERATION, required=False)
@anywhere
def diff(what: str, other: int | None) -> int:
    """Show what a plan would change: against the ledger, or another plan; or a refused publication.

    GEN is a stored plan; with a second GEN, the change leads from the first to the second.
    DIGEST is a refused publication (see: enactorctl refused), against the newest plan.
    """
    found: dict[str, Any] | int | Denied
    if what.isdecimal() and 0 < int(what) < GENERATION_MAX:
        found = read(partial(_from_enactor, int(what), other), partial(_from_store, int(what), other))
    elif is_handle(what.lower()) and other is None:
        found = ask(partial(_refused_from_enactor, what), partial(_refused_from_store, what))
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


async def _refused_from_store(handle: str, tools: "Tools") -> dict[str, Any] | Denied:
    scope = tools.scope
    kept = await refused.find(scope.contributions, handle)
    if isinstance(kept, Refusal):
        return Denied(refusals=(kept,))
    newest = await newest_plan(scope)
    found = await refused.contrast(scope.plans.texts, newest, kept)
    return {"from": newest.generation if newest else 0, "to": kept.digest} | diff_plans(found.before, found.after)


def _refused_from_enactor(handle: str, enactor: "Remote") -> dict[str, Any]:
    kinds: dict[str, list[Any]] = {"added": [], "removed": [], "changed": []}
    for page in enactor.pages("refused", handle, "changes", cursor="after", limit=None):
        ends = {"from": page["from"], "to": page["to"]}
        for kind, changes in kinds.items():
            changes += page[kind]
    return ends | kinds


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
        return {"from": "ledger", "to": generation} | diff_plans(owned_contents(await scope.cache()), after)
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
