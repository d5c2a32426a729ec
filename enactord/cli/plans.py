"""plans, show: the stored plans, and one of them."""

import asyncio
from typing import Any

import click

from enactord.cli.given import GENERATION
from enactord.cli.opening import open_scope
from enactord.cli.program import common, examples
from enactord.cli.terminal import Out, brief_content, deny
from enactord.cli.terminal import show as show_document
from enactord.core.errors import PlanUnreadable
from enactord.core.moment import utc
from enactord.core.refusal import Refusal
from enactord.daemon.operations import Denied, plan_document, plans_document


@click.command(epilog=examples("enactorctl plans\nenactorctl plans --json"))
@common
def plans() -> None:
    """List the stored plans, newest first."""

    async def read() -> list[dict[str, Any]]:
        async with open_scope() as scope:
            return plans_document(await scope.mirror())

    found = asyncio.run(read())
    show_document({"plans": found}, lambda out: _print_plans(out, found))


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
        found.append(f"approval of {plan['approval']['of'] or 'itself'}")
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
@common
def show(generation: int, full: bool) -> int:
    """Show one plan: who published it, when and why, and with --full its endpoints."""
    document = asyncio.run(_show(generation, full))
    if document is None:
        return missing(generation)
    show_document(document, lambda out: _print_plan(out, document))
    return 0


def missing(generation: int) -> int:
    """Say that a plan is not in the store; returns the exit code."""
    detail = f"plan {generation} is not in the store; see those that are: enactorctl plans"
    return deny(Denied(refusals=(Refusal(guard="generation", detail=detail),)))


async def _show(generation: int, full: bool) -> dict[str, Any] | None:
    async with open_scope() as scope:
        manifest = await scope.plans.manifest(generation)
        if manifest is None:
            return None
        document = plan_document(manifest, await scope.plans.endpoints(manifest) if full else None)
        try:
            if not full:
                await scope.plans.texts(set(manifest.digests()))
            document["readable"] = True
        except PlanUnreadable as error:
            document |= {"readable": False, "problem": str(error)}
        return document


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
