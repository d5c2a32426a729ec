"""fence: bring a zone's fence down, the way back from a generation that is out of reach."""

import asyncio
from collections.abc import Sequence

import click

from enactord.cli.given import GENERATION, REASON
from enactord.cli.opening import open_tools
from enactord.cli.program import Verbs, examples, on_site
from enactord.cli.publish import author_or_user
from enactord.cli.terminal import Out, deny, progress, tell_done, warn
from enactord.core.names import parse_name
from enactord.operations.lowering import QUIET_S, Lowered, lower
from enactord.operations.scope import Denied, Stage


@click.group(cls=Verbs, epilog=examples("enactorctl fence lower example.com --reason 'INC-4711: fence set by hand'"))
@on_site
def fence() -> None:
    """Bring the fences of zones down."""


@fence.command(
    name="lower",
    epilog=examples(
        """
enactorctl freeze --reason "INC-4711"
enactorctl fence lower example.com --reason "INC-4711: fence set by hand"
enactorctl fence lower --all --to 104 --reason "INC-4711: a plan of generation 999999999999"
enactorctl thaw
"""
    ),
)
@click.argument("zones", metavar="[ZONE]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="Every zone of the config whose fence is out of reach.")
@click.option("--to", metavar="GEN", type=GENERATION, help="The generation [default: the newest plan in reach, and 1].")
@click.option("--reason", metavar="TEXT", type=REASON, required=True, help="Why; it is kept in the store.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@on_site
def lower_(zones: tuple[str, ...], all_: bool, to: int | None, reason: str, author: str | None) -> int:
    """Bring the fence of each ZONE down to GEN, and set plans above GEN aside.

    For a fence that is out of reach: more than generation_step_max above the newest plan, set by hand or by a
    plan. Enactors do not follow it, and apply no plan in its zone. Others need no lowering: the next publication
    goes above them.

    The scope must have been frozen for 6 minutes, and no enactor may hold a claim; the command waits for both.
    It changes no record but the fence. What it risks: until the next plan is published, what drifts in these
    zones is not put back. Run it again where it broke off; then thaw the scope, and publish.
    """
    if bool(zones) == all_:
        raise click.UsageError("name zones, or --all")
    with progress("lowering") as bar:
        done = asyncio.run(_lower([parse_name(zone) for zone in zones], to, reason, author_or_user(author), bar.stage))
    if isinstance(done, Denied):
        return deny(done)
    tell_done(done.document, lambda out: _print(out, done))
    return 0


async def _lower(names: Sequence[str], to: int | None, reason: str, author: str, stage: Stage) -> Lowered | Denied:
    async with open_tools() as tools, tools.zones() as ports:
        unknown = [name for name in names if name not in ports]
        if unknown:
            raise click.UsageError(f"{unknown[0]} is no zone of this config; it has: {', '.join(sorted(ports))}")
        chosen = {name: ports[name] for name in names or sorted(ports)}
        told = False

        def told_once(name: str) -> None:
            nonlocal told
            if name.startswith("waiting") and not told:
                told = True
                warn(f"this may take up to {QUIET_S / 60:.0f} minutes from the freeze on")
            stage(name)

        return await lower(tools.scope, chosen, to=to, reason=reason, author=author, stage=told_once)


def _print(out: Out, done: Lowered) -> None:
    for each in done.zones:
        out.line(f"{each.zone} stood at: {each.before}")
        out.line(f"{each.zone} stands at: {each.fence.text}")
    if done.aside:
        shown = ", ".join(str(generation) for generation in done.aside[:5]) + (", …" if len(done.aside) > 5 else "")
        out.line(
            f"set aside: {len(done.aside)} plans above {done.to} ({shown}); the newest plan is {done.head or 'none'}"
        )
    if done.waiting:
        out.line(
            (
                f"plans above {done.to} are set aside once these zones are lowered, too: {', '.join(done.waiting)}",
                "yellow",
            )
        )
    else:
        out.line("now: enactorctl thaw, and publish; the next plan is applied above the fences")
