"""verify: what is served against the ledger, and with --repair back to it."""

import asyncio
from typing import Any

import click
from rich.console import Console

from enactord.cli.opening import open_tools
from enactord.cli.program import NO, OK, UNREACHABLE, common, examples
from enactord.cli.terminal import Bar, progress, show, table
from enactord.daemon import operations
from enactord.daemon.operations import Verification


@click.command(epilog=examples("enactorctl verify\nenactorctl verify --repair"))
@click.option("--repair", is_flag=True, help="Put back what drifted, under the fence (not while frozen).")
@common
def verify(repair: bool) -> int:
    """Ask every configured verify server for every name; exit 1 if any is empty or drifted."""
    with progress("verifying") as bar:
        repaired, found = asyncio.run(_verify(repair, bar))
    document: dict[str, Any] = found.document()
    if repair:
        document["repaired"] = repaired
    show(document, lambda out: _print(out, found, repaired))
    if found.down:
        return UNREACHABLE
    return OK if found.sound else NO


async def _verify(repair: bool, bar: Bar) -> tuple[list[str], Verification]:
    async with open_tools() as tools, tools.zones() as zones:
        repaired: list[str] = []
        if repair:
            bar.stage("repairing")
            for look in await operations.repair(tools.scope, zones, tools.settings):
                repaired.extend(look.repaired)
            bar.stage("verifying")
        servers = {
            name: [(verifier.server, verifier.bulk) for verifier in ports.verifiers] for name, ports in zones.items()
        }
        return sorted(repaired), await operations.verify(tools.scope, servers, progress=bar.advance)


def _print(out: Console, found: Verification, repaired: list[str]) -> None:
    for name in repaired:
        out.print(f"repaired {name}")
    if found.findings:
        rows = [
            [f.name, f.server, f.wrong, " ".join(f.served) or "-", " ".join(f.wanted) or "-"] for f in found.findings
        ]
        out.print(table(("endpoint", "server", "wrong", "served", "wanted"), rows))
    for server, problem in sorted(found.down.items()):
        out.print(f"{server} cannot be asked: {problem}", soft_wrap=True)
    wrong = len({finding.name for finding in found.findings})
    fix = "; put them back with: enactorctl verify --repair" if wrong and not repaired else ""
    unasked = f", {found.unasked} not answered for" if found.unasked else ""
    held = f", {found.held} held (see: enactorctl endpoints --state held)" if found.held else ""
    counts = f"{found.names} names, {wrong} not as the ledger has them{unasked}, {found.pending} pending{held}"
    out.print(f"{counts}{fix}", soft_wrap=True)
