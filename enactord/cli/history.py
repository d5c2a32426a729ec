"""history: one name across the stored plans."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.program import anywhere, examples
from enactord.cli.source import read
from enactord.cli.terminal import Out, brief_content, deny, show
from enactord.core.moment import utc
from enactord.core.names import parse_name
from enactord.core.refusal import Refusal
from enactord.operations.acts import Denied, history_document

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote

_PLANS_A_PAGE = 50


@click.command(epilog=examples("enactorctl history dynamodb.us-east-1.amazonaws.com"))
@click.argument("name", metavar="NAME")
@anywhere
def history(name: str) -> int:
    """Show what the stored plans say of a name, newest first, and what the ledger says."""
    parsed = parse_name(name)
    document = read(partial(_from_enactor, parsed), partial(_from_store, parsed))
    if document["ledger"] is None and not document["plans"]:
        detail = f"neither the ledger nor a stored plan knows {parsed}; list names: enactorctl endpoints"
        return deny(Denied(refusals=(Refusal(guard="unknown", detail=detail),)))
    show(document, lambda out: _print(out, document))
    return 0


def _from_enactor(name: str, enactor: "Remote") -> dict[str, Any]:
    page = enactor.find("endpoints", name, "history", query={"plans": _PLANS_A_PAGE})
    document: dict[str, Any] = {"name": name, "ledger": page and page["ledger"], "plans": []}
    while page is not None:
        before = page["next"]
        # The oldest plan of a page tells only in the next one whether the name changed in it.
        document["plans"] += [plan for plan in page["plans"] if before is None or plan["generation"] >= before]
        if before is None:
            break
        page = enactor.get("endpoints", name, "history", query={"plans": _PLANS_A_PAGE, "before": before})
    return document


async def _from_store(name: str, tools: "Tools") -> dict[str, Any]:
    return await history_document(await tools.scope.cache(), tools.scope.plans, name, tools.scope.zones)


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
