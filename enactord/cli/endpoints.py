"""endpoints: the ledger, name by name."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.program import anywhere, examples
from enactord.cli.source import read
from enactord.cli.terminal import Out, deny, show
from enactord.core.moment import utc
from enactord.core.names import parse_name
from enactord.core.refusal import Refusal
from enactord.operations.acts import Denied, endpoint_document, find_entries
from enactord.operations.documents import STATES

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


@click.command(
    epilog=examples("enactorctl endpoints --state held\nenactorctl endpoints dynamodb.us-east-1.amazonaws.com")
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--state", type=click.Choice(STATES), help="Only endpoints in this state.")
@click.option("--zone", metavar="ZONE", help="Only endpoints in this zone.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=1000, show_default=True, help="Rows for people; 0: all of them."
)
@anywhere
def endpoints(names: tuple[str, ...], state: str | None, zone: str | None, limit: int) -> int:
    """List endpoints of the ledger: state, generation, addresses, and why one is held."""
    asked = [parse_name(name) for name in names]
    found = read(partial(_from_enactor, asked, state, zone), partial(_from_store, asked))
    unknown = sorted(set(asked) - {document["name"] for document in found})
    if unknown:
        detail = f"not in the ledger: {', '.join(unknown)}; list what is: enactorctl endpoints"
        return deny(Denied(refusals=(Refusal(guard="unknown", detail=detail),)))
    wanted_zone = parse_name(zone) if zone else None
    chosen = [d for d in found if state in (None, d["state"]) and wanted_zone in (None, d["zone"])]
    show({"endpoints": chosen}, lambda out: _print(out, chosen, limit))
    return 0


def _from_enactor(names: Sequence[str], state: str | None, zone: str | None, enactor: "Remote") -> list[dict[str, Any]]:
    if names:
        found = [document for name in sorted(set(names)) if (document := enactor.find("endpoints", name))]
    else:
        filters = {key: value for key, value in (("state", state), ("zone", zone)) if value}
        pages = enactor.pages("endpoints", cursor="after", query=filters)
        found = sorted((each for page in pages for each in page["endpoints"]), key=lambda each: str(each["name"]))
    for document in found:
        for seen in ("served", "wanted", "good_content"):  # what a store does not tell of every name
            document.pop(seen, None)
    return found


async def _from_store(names: Sequence[str], tools: "Tools") -> list[dict[str, Any]]:
    cache = await tools.scope.cache()
    entries, overrides = find_entries(cache, names or None), cache.overrides
    return [endpoint_document(entry, tools.scope.zones, overrides) for entry in entries.values()]


def _print(out: Out, found: list[dict[str, Any]], limit: int) -> None:
    rows = []
    for endpoint in found[: limit or None]:
        addresses = " ".join(endpoint["addresses"][:4]) + (" …" if len(endpoint["addresses"]) > 4 else "")
        held = endpoint["held"]
        reason = f"{held['guard']}: {held['detail']} (plan {held['generation']})" if held else ""
        rows.append([endpoint["name"], endpoint["state"], endpoint["generation"] or "-", addresses or "-", reason])
    overridden = [one for endpoint in found[: limit or None] for one in endpoint["overrides"]]
    out.table(("endpoint", "state", "generation", "addresses", "held"), rows)
    for one in overridden:
        told = (
            f"{one['name']}: overridden by {one['author']} until {utc(one['until'])} ({one['what']}): {one['reason']}"
        )
        out.line((told, "yellow"))
    if limit and len(found) > limit:
        out.line(f"… and {len(found) - limit:,} more; see all with --limit 0")
