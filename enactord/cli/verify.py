"""verify: what is served against the ledger, and with --repair back to it."""

import asyncio
from typing import Any

import click

from enactord.cli.opening import open_tools
from enactord.cli.program import NO, OK, UNREACHABLE, common, examples
from enactord.cli.publish import author_or_user
from enactord.cli.terminal import Bar, Out, progress, tell_done, warn
from enactord.daemon import operations
from enactord.daemon.operations import Verification


@click.command(epilog=examples("enactorctl verify\nenactorctl verify --repair"))
@click.option("--repair", is_flag=True, help="Put back what drifted, under the fence (not while frozen).")
@common
def verify(repair: bool) -> int:
    """Ask every configured verify server for every name; exit 1 if any is empty or drifted."""
    with progress("verifying") as bar:
        repaired, found = asyncio.run(_verify(repair, bar))
    told: dict[str, Any] = {"repaired": repaired} if repair else {}
    tell_done(lambda: found.document() | told, lambda out: _print(out, found, repaired))
    if found.down:
        return UNREACHABLE
    return OK if found.sound else NO


async def _verify(repair: bool, bar: Bar) -> tuple[list[str], Verification]:
    async with open_tools() as tools, tools.zones() as zones:
        repaired: list[str] = []
        if repair:
            bar.stage("repairing")
            author = author_or_user(None)
            for look in await operations.repair(tools.scope, zones, tools.settings, author=author, warn=warn):
                repaired.extend(look.repaired)
            bar.stage("verifying")
        servers = {
            name: [(verifier.server, verifier.bulk) for verifier in ports.verifiers] for name, ports in zones.items()
        }
        return sorted(repaired), await operations.verify(tools.scope, servers, progress=bar.advance)


def _print(out: Out, found: Verification, repaired: list[str]) -> None:
    for name in repaired:
        out.line(f"repaired {name}")
    if found.findings:
        rows = [
            [f.name, f.server, f.wrong, " ".join(f.served) or "-", " ".join(f.wanted) or "-"] for f in found.findings
        ]
        out.table(("endpoint", "server", "wrong", "served", "wanted"), rows)
    for server, problem in sorted(found.down.items()):
        out.line(f"{server} cannot be asked: {problem}")
    wrong = len({finding.name for finding in found.findings})
    again = "; a secondary may take a moment to follow, so look again: enactorctl verify"
    fix = "" if not wrong else again if repaired else "; put them back with: enactorctl verify --repair"
    unasked = f", {found.unasked} not answered for" if found.unasked else ""
    held = f", {found.held} held (see: enactorctl endpoints --state held)" if found.held else ""
    counts = f"{found.names} names, {wrong} not as the ledger has them{unasked}, {found.pending} pending{held}"
    out.line(f"{counts}{fix}")
