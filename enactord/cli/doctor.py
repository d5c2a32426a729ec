"""doctor: what keeps an enactor from its work, and what to type about it."""

import asyncio
import textwrap

import click

from enactord.cli.program import NO, OK, UNREACHABLE, common, config_path, examples
from enactord.cli.terminal import Out, progress, show
from enactord.daemon.config import load_config
from enactord.daemon.doctor import Report, State, examine

_WIDTH = 80
_INDENT = 11
_COLOURS = {State.OK: "green", State.WARNING: "yellow", State.FAULT: "red", State.UNKNOWN: "yellow"}


@click.command(epilog=examples("enactorctl doctor\nenactorctl doctor --json"))
@common
def doctor() -> int:
    """Look for all that keeps an enactor with this config from its work, and say what to type.

    It looks at config, store, limits, ids, clocks, every zone with its key and its rights, verify
    servers, connections, certificates and disk. It changes nothing that matters: one key of its own is
    put into the store and deleted, and updates of a zone change no record. What is away stops no
    other check.

    Exit codes: 0 all is well (warnings, too); 1 a fault; 3 something could not be looked at.
    """
    config = load_config(config_path())
    with progress("examining") as bar:
        report = asyncio.run(examine(config, progress=bar.advance))
    show(report.document(), lambda out: _print(out, report))
    if report.count(State.FAULT):
        return NO
    return UNREACHABLE if report.count(State.UNKNOWN) else OK


def _print(out: Out, report: Report) -> None:
    group = None
    for check in report.checks:
        if check.group is not group:
            group = check.group
            out.line((group.value, "bold"))
        first, *rest = _wrapped(f"{check.subject}: {check.seen}")
        out.line("  ", (f"{check.state.value:<{_INDENT - 2}}", _COLOURS[check.state]), first)
        for line in rest:
            out.line(" " * _INDENT + line)
        for number, line in enumerate(_wrapped(f"do: {check.fix}") if check.fix else []):
            out.line(" " * (_INDENT if number == 0 else _INDENT + 4) + line)
    out.line(", ".join(f"{report.count(state)} {state.value}" for state in State))


def _wrapped(text: str) -> list[str]:
    """Return a text in lines that fit a terminal of 80 columns; no name or command word is broken."""
    return textwrap.wrap(text, _WIDTH - _INDENT - 4, break_long_words=False, break_on_hyphens=False)
