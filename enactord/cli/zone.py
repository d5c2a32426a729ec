"""zone: take a zone out for good, or over from an installation that is gone."""

import asyncio

import click

from enactord.cli.given import REASON
from enactord.cli.opening import open_tools
from enactord.cli.program import Verbs, examples, on_site
from enactord.cli.publish import author_or_user
from enactord.cli.terminal import Out, agrees, deny, progress, tell_done
from enactord.core.names import parse_name
from enactord.operations import taking
from enactord.operations.copied import copied_installation
from enactord.operations.retiring import Retired, retire
from enactord.operations.scope import Denied, Stage
from enactord.operations.taking import Offer, TakenOver


@click.group(
    cls=Verbs,
    epilog=examples(
        """
enactorctl zone retire old.example.com --reason "moved to another team"
enactorctl zone take example.com --reason "INC-4711: its plan store is lost for good"
"""
    ),
)
@on_site
def zone() -> None:
    """Take a zone out of a scope, or over from another installation."""


@zone.command(
    name="retire",
    epilog=examples(
        """
enactorctl zone retire old.example.com --reason "moved to another team"
enactorctl --config before.toml zone retire old.example.com --reason "switched off" --remove-records
"""
    ),
)
@click.argument("zone", metavar="ZONE")
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; `status` shows it.")
@click.option(
    "--remove-records",
    is_flag=True,
    help="Remove from the DNS what enactord put there, too. Needs a config that still has the zone.",
)
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@on_site
def retire_(zone: str, reason: str, remove_records: bool, author: str | None) -> int:
    """Forget ZONE: its ledger, its applied plan and its fence leave the store.

    First take its [[zone]] out of the config of every enactor, and restart them; while an enactor that
    is alive has it, nothing is done. Without --remove-records, the DNS keeps what it serves. The fence
    record stays in the DNS in any case: no write that is on its way, or wakes up late, can land.
    """
    with progress("retiring") as bar:
        done = asyncio.run(_retire(parse_name(zone), reason, author_or_user(author), remove_records, bar.stage))
    if isinstance(done, Denied):
        return deny(done)
    tell_done(done.document, lambda out: _print(out, done))
    return 0


async def _retire(name: str, reason: str, author: str, remove_records: bool, stage: Stage) -> Retired | Denied:
    async with open_tools() as tools:
        if not remove_records:
            return await retire(tools.scope, name, reason=reason, author=author, stage=stage)
        if name not in tools.scope.zones:
            raise click.UsageError(
                f"--remove-records needs the server and key of {name}, which this config does not have;"
                " name a config that has it: enactorctl --config FILE zone retire …"
            )
        async with tools.zones() as zones:
            return await retire(tools.scope, name, reason=reason, author=author, ports=zones[name], stage=stage)


def _print(out: Out, done: Retired) -> None:
    if done.removed is not None:
        out.line(f"{len(done.removed)} of {done.names} names were removed from the DNS")
    for kept in done.kept:
        out.line((f"left as it is: {kept.name}: {kept.why}", "yellow"))
    if done.fence is not None:
        out.line(f"the fence stays in the DNS, so that no late write can land: {done.fence.text}")
    out.line(f"{done.zone} is out of the store: {done.names} names, fence {done.generation or 'none'}")
    if done.planned:
        out.line(
            f"the newest plan still holds {done.planned} endpoints of it: the planner must leave them out, or its"
            " next plan is refused"
        )


@zone.command(
    name="take",
    epilog=examples(
        """
enactorctl zone take example.com --reason "INC-4711: its plan store is lost for good"
enactorctl zone take example.com --reason "INC-4711" --yes
"""
    ),
)
@click.argument("zone", metavar="ZONE")
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; it is kept in the store.")
@click.option("--yes", is_flag=True, help="Do not ask, also where a person sits at a terminal.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@on_site
def take_(zone: str, reason: str, yes: bool, author: str | None) -> int:
    """Take ZONE over from an installation that is gone, or whose fence is damaged.

    An installation is one plan store with its enactors; its id stands in the fence of each zone. Two
    installations undo each other's work in one zone, so enactors refuse a zone of another id. First make
    sure that no enactor of the other installation is alive. What stands is shown, and exactly that is
    replaced, by a fence of this installation above it. No name changes by it: names that this installation's
    ledger does not know are held until they are adopted.
    """
    name = parse_name(zone)
    offer = asyncio.run(_look(name))
    if isinstance(offer, Denied):
        return deny(offer)
    if not yes and not agrees(f"{name} stands at: {offer.standing}; take it over?"):
        return 1
    done = asyncio.run(_take(offer, reason, author_or_user(author)))
    if isinstance(done, Denied):
        return deny(done)
    tell_done(done.document, lambda out: _print_taken(out, done))
    return 0


async def _look(name: str) -> Offer | Denied:
    async with open_tools() as tools, tools.zones() as zones:
        if name not in zones:
            raise click.UsageError(f"{name} is no zone of this config; it has: {', '.join(sorted(zones))}")
        return await taking.look(tools.scope, name, zones[name])


async def _take(offer: Offer, reason: str, author: str) -> TakenOver | Denied:
    async with open_tools() as tools, tools.zones() as zones:
        enactor = tools.config.enactor
        copied = await asyncio.to_thread(copied_installation, enactor.state_dir, enactor.scope)
        ports = zones[offer.zone]
        return await taking.take(tools.scope, offer, ports, reason=reason, author=author, copied=copied)


def _print_taken(out: Out, done: TakenOver) -> None:
    out.line(f"{done.zone} stood at: {done.before}")
    out.line(f"{done.zone} stands at: {done.fence.text}")
    out.line(f"what is left to do: {done.left}" if done.left else "enactors go on there by themselves")
