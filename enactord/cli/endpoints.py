"""endpoints: the ledger, name by name."""

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from enactord.cli.opening import open_scope
from enactord.cli.program import common, examples
from enactord.cli.terminal import Out, deny, show
from enactord.core.moment import utc
from enactord.core.names import parse_name
from enactord.core.refusal import Refusal
from enactord.daemon.documents import STATES
from enactord.daemon.operations import Denied, endpoint_document, find_entries


@click.command(
    epilog=examples("enactorctl endpoints --state held\nenactorctl endpoints dynamodb.us-east-1.amazonaws.com")
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--state", type=click.Choice(STATES), help="Only endpoints in this state.")
@click.option("--zone", metavar="ZONE", help="Only endpoints in this zone.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=1000, show_default=True, help="Rows for people; 0: all of them."
)
@common
def endpoints(names: tuple[str, ...], state: str | None, zone: str | None, limit: int) -> int:
    """List endpoints of the ledger: state, generation, addresses, and why one is held."""
    asked = [parse_name(name) for name in names]
    found = asyncio.run(_read(asked))
    unknown = sorted(set(asked) - {document["name"] for document in found})
    if unknown:
        detail = f"not in the ledger: {', '.join(unknown)}; list what is: enactorctl endpoints"
        return deny(Denied(refusals=(Refusal(guard="unknown", detail=detail),)))
    wanted_zone = parse_name(zone) if zone else None
    chosen = [d for d in found if state in (None, d["state"]) and wanted_zone in (None, d["zone"])]
    show({"endpoints": chosen}, lambda out: _print(out, chosen, limit))
    return 0


async def _read(names: Sequence[str]) -> list[dict[str, Any]]:
    async with open_scope() as scope:
        mirror = await scope.mirror()
        overrides = mirror.overrides
        entries = find_entries(mirror, names or None)
        return [endpoint_document(entry, scope.zones, overrides) for entry in entries.values()]


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
