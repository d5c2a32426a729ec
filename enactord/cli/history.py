"""history: one name across the stored plans."""

import asyncio
from typing import Any

import click

from enactord.cli.opening import open_scope
from enactord.cli.program import common, examples
from enactord.cli.terminal import Out, brief_content, deny, show
from enactord.core.moment import utc
from enactord.core.names import parse_name
from enactord.core.refusal import Refusal
from enactord.daemon.operations import Denied, history_document


@click.command(epilog=examples("enactorctl history dynamodb.us-east-1.amazonaws.com"))
@click.argument("name", metavar="NAME")
@common
def history(name: str) -> int:
    """Show what the stored plans say of a name, newest first, and what the ledger says."""
    parsed = parse_name(name)

    async def run() -> dict[str, Any]:
        async with open_scope() as scope:
            return await history_document(await scope.mirror(), scope.plans, parsed, scope.zones)

    document = asyncio.run(run())
    if document["ledger"] is None and not document["plans"]:
        detail = f"neither the ledger nor a stored plan knows {parsed}; list names: enactorctl endpoints"
        return deny(Denied(refusals=(Refusal(guard="unknown", detail=detail),)))
    show(document, lambda out: _print(out, document))
    return 0


def _print(out: Out, document: dict[str, Any]) -> None:
    ledger = document["ledger"]
    if ledger is None:
        out.line(f"{document['name']}: not in the ledger")
    else:
        out.line(f"{document['name']}: {ledger['state']}")
        out.line(f"applied  {ledger['generation'] or '-'}  {brief_content(ledger['content'])}")
        out.line(f"good     {ledger['good'] or '-'}  {brief_content(ledger['good_content'])}")
        if ledger["held"]:
            held = ledger["held"]
            out.line(f"held     plan {held['generation']}: {held['guard']}: {held['detail']}")
    rows = [
        [plan["generation"], "unreadable", "-", plan["unreadable"]]
        if "unreadable" in plan
        else [plan["generation"], utc(plan["published_at"]), plan["author"], brief_content(plan["content"])]
        for plan in document["plans"]
    ]
    out.table(("generation", "published", "author", "content"), rows)
