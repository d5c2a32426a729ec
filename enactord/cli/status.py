"""status: the scope at a glance."""

from typing import TYPE_CHECKING, Any

import click

from enactord.cli.program import NO, OK, anywhere, examples
from enactord.cli.refused import told_refused
from enactord.cli.source import read
from enactord.cli.terminal import Out, show
from enactord.core.moment import utc

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


@click.command(
    epilog=examples("enactorctl status\nenactorctl status --check\nenactorctl status --json | jq .endpoints.held")
)
@click.option("--check", is_flag=True, help="Exit 1 when not well: no enactor is alive, or one says what is wrong.")
@anywhere
def status(check: bool) -> int:
    """Show the newest plan, each zone's fence, endpoints by state, and live enactors."""
    document = read(_from_enactor, _from_store)
    document["problems"] = problems_of(document)
    show(document, lambda out: _print(out, document))
    return NO if check and document["problems"] else OK


def problems_of(document: dict[str, Any]) -> list[str]:
    """Return why the scope is not well, by what its enactors say of themselves; plans under way are no reason."""
    if not document["enactors"]:
        return ["no enactor is alive: nothing is applied until one runs (enactord run)"]
    told: dict[str, list[str]] = {}
    silent = "it has said nothing new of itself for long: what is shown of it is old"
    for enactor in document["enactors"]:
        if enactor["stale"]:
            told.setdefault(silent, []).append(enactor["id"])
            continue
        for reason in enactor.get("degraded", ()):
            told.setdefault(reason, []).append(enactor["id"])
    return [f"degraded ({', '.join(enactors)}): {reason}" for reason, enactors in told.items()]


def _from_enactor(enactor: "Remote") -> dict[str, Any]:
    document = enactor.get("status")
    own = document.pop("self")  # newer than what it last said of itself in the store, which may be away
    asked = next((one for one in document["enactors"] if one["id"] == own["id"]), None)
    if asked is None:
        asked = {"id": own["id"], "working_on": own["working_on"] or None}
        document["enactors"].append(asked)
    asked |= {"stale": False, "degraded": own["reasons"]}
    return document


async def _from_store(tools: "Tools") -> dict[str, Any]:
    from enactord.operations.documents import status_document  # with all that is stored: who asks an enactor needs none

    return status_document(await tools.scope.cache(), tools.scope.zones, tools.scope.clock.now())


def _print(out: Out, document: dict[str, Any]) -> None:
    frozen = document["frozen"]
    if frozen:
        out.line(
            (
                f"FROZEN ({frozen['mode']}) since {utc(frozen['since'])} by {frozen['author']}: {frozen['reason']}",
                "bold white on red",
            )
        )
    for paused in document["paused"]:
        since, author = utc(paused["at"]), paused["author"]
        out.line((f"planner {paused['planner']} is PAUSED since {since} by {author}: {paused['reason']}", "yellow"))
    for kept in document["refused"]:
        out.line((f"planner {kept['planner']}: {told_refused(kept)}", "yellow"))
    for one in document["overrides"]:
        told = f"{one['name']} is OVERRIDDEN by {one['author']} until {utc(one['until'])}"
        out.line((f"{told} ({one['what']}): {one['reason']}; to end it: enactorctl override end {one['id']}", "yellow"))
    for other in document["other_formats"]:
        out.line(
            (
                f"{other['kind']} of format {other['found']} in the store ({other['values']} values, the first"
                f" {other['first']}); this version reads format {other['reads']}",
                "yellow",
            )
        )
    plans, counts = document["plans"], document["endpoints"]
    out.line(
        f"scope {document['scope']}: newest plan {document['head'] or 'none'}, {plans['stored']} stored"
        + (f" from {plans['oldest']} on" if plans["oldest"] else "")
        + f"; installation {document['installation'] or 'without an id: no enactor has made it yet'}"
    )
    out.line(
        f"endpoints: {counts['total']} in the ledger, {counts['applied']} applied, {counts['pending']} pending,"
        f" {counts['held']} held, {counts['unseen']} not seen served yet"
    )
    rows = [[z["zone"], z["fence"] or "-", z["applied"] or "-", z["state"]] for z in document["zones"]]
    out.table(("zone", "fence", "applied", "state"), rows)
    for enactor in document["enactors"]:
        working_on = enactor.get("working_on")
        doing = f"works on plan {working_on}" if working_on else "waits for work"
        interval_s = enactor.get("fence_interval_s")
        asking = f", asks each zone for its fence every {interval_s:g} s" if isinstance(interval_s, float) else ""
        out.line(f"enactor {enactor['id']}: {doing}{asking}")
    for hold in document["held"]:
        out.line((f"held: {hold['name']} ({hold['guard']}): {hold['detail']}", "yellow"))
    if counts["held"] > len(document["held"]):
        out.line(f"held: {counts['held'] - len(document['held'])} more (see: enactorctl endpoints --state held)")
    for problem in document["problems"]:
        out.line((problem, "yellow" if document["enactors"] else "red"))
    for zone in document["zones"]:
        if zone["primary"]:
            out.line(f"{zone['zone']} is written on {zone['primary']}")
        if zone["state"] == "not in this config":
            retire = f"enactorctl zone retire {zone['zone'].rstrip('.')} --reason …"
            out.line((f"{zone['zone']} has left this config; when no enactor has it: {retire}", "yellow"))
    for gone in document["retired"]:
        out.line(f"retired: {gone['zone']} by {gone['author']} since {utc(gone['at'])}: {gone['reason']}")
    for claim in document["claims"]:
        out.line(f"claim: {claim['enactor']} on plan {claim['generation']}")
