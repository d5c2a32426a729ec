"""planner-stub: a planner for trying things, in good health and in bad."""

import asyncio
import random
import signal
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from enactord import __version__
from enactord.cli.opening import open_scope
from enactord.cli.plan_file import read_document
from enactord.cli.program import NO, Program, common, examples
from enactord.cli.publish import show_published, shown
from enactord.cli.terminal import lines_beside, progress, write
from enactord.core.plan import parse_plan
from enactord.core.visible import json_text, plain, visible
from enactord.operations.acts import Denied, Published, Scope
from enactord.operations.acts import publish as publish_draft
from enactord.store.plans import Orders
from enactord.telemetry.lines import LineWriter
from planner_stub.bad import KINDS, Basis, bad_plan, basis_of, default_basis
from planner_stub.fleet import Fleet
from planner_stub.names import choose_names, read_names
from planner_stub.planning import Planner

AUTHOR = "planner-stub"


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("planner-stub run --config enactord.toml --endpoints 100 --interval 5\nplanner-stub bad shrunk"),
)
@click.version_option(__version__, prog_name="planner-stub")
@common
def main() -> None:
    """Publish plans of a made-up fleet of load balancers; or plans that must be refused."""


@main.command(
    epilog=examples("planner-stub run --config enactord.toml --endpoints 1000 --interval 2 --churn 0.02 --seed 7")
)
@click.option("--endpoints", type=click.IntRange(min=1), default=100, show_default=True, help="How many names.")
@click.option("--interval", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Seconds a plan.")
@click.option("--churn", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Share changed a plan.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of what happens to the fleet.")
@click.option("--names", type=click.Path(path_type=Path), metavar="FILE", help="Names to use, one a line.")
@click.option("--rounds", type=click.IntRange(min=1), help="Stop after so many plans.")
@common
def run(endpoints: int, interval: float, churn: float, seed: int, names: Path | None, rounds: int | None) -> None:
    """Publish a whole plan, then the fleet's changes each interval, until stopped."""
    source = read_names(names) if names else ()

    async def body(lines: LineWriter) -> None:
        say = partial(_say, lines)
        async with open_scope() as scope:
            chosen = choose_names(endpoints, zones=sorted(scope.zones), source=source)
            fleet = Fleet(chosen, seed)
            planner = Planner(scope, fleet, author=AUTHOR, churn=churn, rng=random.Random(seed), say=say)
            await planner.run(interval_s=interval, rounds=rounds)

    with suppress(asyncio.CancelledError, KeyboardInterrupt), lines_beside() as lines:
        asyncio.run(_until_told(body(lines)))


async def _until_told(body: Any) -> None:
    """Run until the end, or until SIGTERM or SIGINT asks for it."""
    task = asyncio.ensure_future(body)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _say(lines: LineWriter, event: str, **facts: object) -> None:
    """Write one line: people's on a terminal, JSON otherwise. Plans go out whether anybody reads it or not."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    if lines.isatty():
        line = visible(f"{at[11:19]}  {event}  " + " ".join(f"{key}={value}" for key, value in facts.items()))
    else:
        line = json_text(plain({"event": event, "timestamp": at} | facts, 10_000, 1000), ascii_only=True)
    lines.write(line + "\n")


@main.command(epilog=examples("planner-stub names --endpoints 50 > names.txt"))
@click.option("--endpoints", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="How many names.")
@common
def names(endpoints: int) -> None:
    """Print the names that a fleet of that size is planned for, one a line."""
    for name in choose_names(endpoints):
        write(name + "\n")


@main.command(epilog=examples("planner-stub publish plan.json --config enactord.toml"))
@click.argument("file", metavar="FILE")
@common
def publish(file: str) -> int:
    """Publish a plan from a file ("-": stdin), as a planner would."""
    with progress("reading") as bar:
        document = read_document(file)

        async def send() -> Published | Denied:
            async with open_scope() as scope:
                return await _send(scope, document)

        bar.stage("publishing")
        done = asyncio.run(send())
    return show_published(shown(done))


async def _send(scope: Scope, document: bytes) -> Published | Denied:
    draft = parse_plan(document)
    return await publish_draft(scope, draft, Orders(author=draft.author or AUTHOR))


@main.command(
    epilog=examples("planner-stub bad shrunk > shrunk.json\nplanner-stub bad stale --config enactord.toml --publish")
)
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--publish", "publishing", is_flag=True, help="Send it, and show the refusal; needs --config.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it there.")
@common
def bad(kind: str, publishing: bool, output: Path | None) -> int:
    """Make a plan that must be refused: from the newest plan with --config, else from a small fleet.

    The document goes to stdout, or to -o; with --publish it is sent, and the exit code is
    1 where it was refused or where its endpoint is held.
    """
    configured = publishing or bool(click.get_current_context().meta.get("enactord.config"))
    if not publishing:
        basis = asyncio.run(_read_basis()) if configured else default_basis()
        if output is None:
            for piece in bad_plan(kind, basis):
                write(piece)
        else:
            _write(kind, basis, output)
        return 0
    if output is not None:
        _write(kind, asyncio.run(_read_basis()), output)
    done = asyncio.run(_publish_bad(kind))
    code = show_published(shown(done))
    return NO if code or (isinstance(done, Published) and done.held) else 0


def _write(kind: str, basis: Basis, output: Path) -> None:
    with output.open("wb") as file:
        file.writelines(bad_plan(kind, basis))


async def _read_basis() -> Basis:
    async with open_scope() as scope:
        return await _basis(scope)


async def _basis(scope: Scope) -> Basis:
    newest, _ = await scope.plans.newest()
    manifest = await scope.plans.manifest(newest) if newest else None
    if manifest is None or not manifest.endpoints:
        names = choose_names(20, zones=sorted(scope.zones))
        return basis_of(scope.name, newest, Fleet(names, 0).contents())
    return basis_of(scope.name, newest, await scope.plans.planned(manifest))


async def _publish_bad(kind: str) -> Published | Denied:
    async with open_scope() as scope:
        basis = await _basis(scope)
        document = bytearray()
        for piece in bad_plan(kind, basis):
            document += piece
        return await _send(scope, bytes(document))


if __name__ == "__main__":
    main()
