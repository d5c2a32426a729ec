"""plans, show: the stored plans, and one of them."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.given import GENERATION
from enactord.cli.program import anywhere, examples
from enactord.cli.source import read
from enactord.cli.terminal import Out, brief_content, deny
from enactord.cli.terminal import show as show_document
from enactord.core.contribution import mark_of
from enactord.core.errors import PlanUnreadable
from enactord.core.moment import utc
from enactord.core.refusal import Refusal
from enactord.operations.acts import Denied, contents_document, plans_document

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


@click.command(epilog=examples("enactorctl plans\nenactorctl plans --json"))
@anywhere
def plans() -> None:
    """List the stored plans, newest first."""
    found = read(_plans_from_enactor, _plans_from_store)
    show_document({"plans": found}, lambda out: _print_plans(out, found))


def _plans_from_enactor(enactor: "Remote") -> list[dict[str, Any]]:
    return [plan for page in enactor.pages("plans", cursor="before") for plan in page["plans"]]


async def _plans_from_store(tools: "Tools") -> list[dict[str, Any]]:
    return plans_document(await tools.scope.cache())


def _print_plans(out: Out, found: list[dict[str, Any]]) -> None:
    rows = []
    for plan in found:
        if "unreadable" in plan:
            rows.append([plan["generation"], "unreadable", "-", "-", "-", plan["unreadable"]])
            continue
        said = [utc(plan["published_at"]), plan["author"], remarks(plan)]
        rows.append([plan["generation"], plan["digest"][:16], plan["endpoints"], *said])
    out.table(("generation", "digest", "endpoints", "published", "author", "remarks"), rows)


def remarks(plan: dict[str, Any]) -> str:
    """Return what is special about a plan, in a few words."""
    found = []
    if plan["approval"]:
        found.append(f"approval of {plan['approval']['of'] or mark_of(plan['approval']['digest']) or 'itself'}")
    if plan["rollback_of"]:
        found.append(f"rollback to {plan['rollback_of']}")
    if plan["reason"]:
        found.append(plan["reason"])
    if plan.get("claims"):
        found.append("claimed by " + ", ".join(plan["claims"]))
    return "; ".join(found)


@click.command(epilog=examples("enactorctl show 103\nenactorctl show 103 --full --json > plan-103.json"))
@click.argument("generation", metavar="GEN", type=GENERATION)
@click.option("--full", is_flag=True, help="Every endpoint's content too.")
@anywhere
def show(generation: int, full: bool) -> int:
    """Show one plan: who published it, when and why, and with --full its endpoints."""
    document = read(partial(_from_enactor, generation, full), partial(_from_store, generation, full))
    if document is None:
        return missing(generation)
    if "unreadable" in document:
        raise PlanUnreadable(document["unreadable"])
    show_document(document, lambda out: _print_plan(out, document))
    return 0


def missing(generation: int) -> int:
    """Say that a plan is not in the store; returns the exit code."""
    detail = f"plan {generation} is not in the store; see those that are: enactorctl plans"
    return deny(Denied(refusals=(Refusal(guard="generation", detail=detail),)))


def _from_enactor(generation: int, full: bool, enactor: "Remote") -> dict[str, Any] | None:
    document = enactor.find("plans", generation, query={"check": str(not full).lower()})
    if document is None or "unreadable" in document or not full:
        return document
    pages = enactor.pages("plans", generation, "content", cursor="after", limit=None)
    content = {name: each for page in pages for name, each in page["content"].items()}
    return document | {"content": dict(sorted(content.items())), "readable": True}


async def _from_store(generation: int, full: bool, tools: "Tools") -> dict[str, Any] | None:
    scope = tools.scope
    cache = await scope.cache()
    found = plans_document(cache, [generation])
    manifest = cache.manifest(generation) if found and "unreadable" not in found[0] else None
    if manifest is None:
        return found[0] if found else None
    if full:
        return found[0] | {"content": contents_document(await scope.plans.endpoints(manifest)), "readable": True}
    try:
        await scope.plans.texts(set(manifest.digests()))
    except PlanUnreadable as error:
        return found[0] | {"readable": False, "problem": str(error)}
    return found[0] | {"readable": True}


def _print_plan(out: Out, document: dict[str, Any]) -> None:
    lines = [
        f"plan {document['generation']} of scope {document['scope']}",
        f"digest     {document['digest']}",
        f"endpoints  {document['endpoints']} in {document['chunks']} chunks",
        f"published  {utc(document['published_at'])} by {document['author']}",
    ]
    if document["created_at"]:
        lines.append(f"created    {document['created_at']}")
    if remarks(document):
        lines.append(f"remarks    {remarks(document)}")
    if not document["readable"]:
        lines.append(f"PROBLEM    {document['problem']}; publish the whole content anew")
    for line in lines:
        out.line(line)
    if "content" in document:
        rows = [[name, brief_content(content)] for name, content in document["content"].items()]
        out.table(("endpoint", "content"), rows)
