"""verify: what is served against the ledger, and with --repair back to it."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.program import NO, OK, UNREACHABLE, anywhere, examples
from enactord.cli.publish import author_or_user
from enactord.cli.source import read
from enactord.cli.terminal import Bar, Out, progress, tell_done, warn
from enactord.operations import acts as operations

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


@click.command(epilog=examples("enactorctl verify\nenactorctl verify --repair"))
@click.option("--repair", is_flag=True, help="Put back what drifted, under the fence (not while frozen).")
@anywhere
def verify(repair: bool) -> int:
    """Ask every configured verify server for every name; exit 1 if any is empty or drifted."""
    with progress("verifying") as bar:
        document = read(partial(_from_enactor, repair), partial(_verify, repair, bar))
    for warning in document.get("warnings", ()):
        warn(warning)
    tell_done(lambda: document, lambda out: _print(out, document))
    if document["down"]:
        return UNREACHABLE
    return OK if document["sound"] else NO


def _from_enactor(repair: bool, enactor: "Remote") -> dict[str, Any]:
    return enactor.post("verify", order={"repair": repair})


async def _verify(repair: bool, bar: Bar, tools: "Tools") -> dict[str, Any]:
    async with tools.zones() as zones:
        told: dict[str, Any] = {}
        if repair:
            bar.stage("repairing")
            warnings: list[str] = []
            author = author_or_user(None)
            looks = await operations.repair(tools.scope, zones, tools.settings, author=author, warn=warnings.append)
            told = {"repaired": sorted({name for look in looks for name in look.repaired}), "warnings": warnings}
            bar.stage("verifying")
        servers = {
            name: [(verifier.server, verifier.bulk) for verifier in ports.verifiers] for name, ports in zones.items()
        }
        return (await operations.verify(tools.scope, servers, progress=bar.advance)).document() | told


def _print(out: Out, document: dict[str, Any]) -> None:
    repaired, findings = document.get("repaired", ()), document["findings"]
    for name in repaired:
        out.line(f"repaired {name}")
    if findings:
        rows = [
            [f["name"], f["server"], f["wrong"], " ".join(f["served"]) or "-", " ".join(f["wanted"]) or "-"]
            for f in findings
        ]
        out.table(("endpoint", "server", "wrong", "served", "wanted"), rows)
    for server, problem in sorted(document["down"].items()):
        out.line(f"{server} cannot be asked: {problem}")
    wrong = len({finding["name"] for finding in findings})
    again = "; a secondary may take a moment to follow, so look again: enactorctl verify"
    fix = "" if not wrong else again if repaired else "; put them back with: enactorctl verify --repair"
    unasked = f", {document['unasked']} not answered for" if document["unasked"] else ""
    held = f", {document['held']} held (see: enactorctl endpoints --state held)" if document["held"] else ""
    counts = f"{document['names']} names, {wrong} not as the ledger has them{unasked}, {document['pending']} pending"
    out.line(f"{counts}{held}{fix}")
