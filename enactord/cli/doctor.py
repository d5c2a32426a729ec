"""doctor: what keeps an enactor from its work, and what to type about it; and whether a DNS server qualifies."""

import asyncio
import textwrap
from pathlib import Path
from typing import Any

import click

from enactord.backends.rfc2136.keys import UpdatedZone
from enactord.cli.program import NO, OK, UNREACHABLE, config_path, examples, on_site
from enactord.cli.terminal import Out, deny, progress, show
from enactord.clock import SystemClock
from enactord.config.files import read_bounded
from enactord.config.reader import load_config
from enactord.core.names import parse_name
from enactord.doctor import Report, State, examine
from enactord.doctor.zones import lacks_key
from enactord.operations.conformance import Conformance, Target, Verdict, conform
from enactord.operations.scope import Denied
from enactord.wire.address import parse_address
from enactord.wire.tsig import TsigKey
from enactord.wire.tsig_file import NoKey, parse_key_file

_WIDTH = 80
_INDENT = 11
_COLOURS = {
    State.OK: "green", State.WARNING: "yellow", State.FAULT: "red", State.UNKNOWN: "yellow",
    Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNKNOWN: "yellow",
}  # fmt: skip


@click.command(
    epilog=examples(
        """
enactorctl doctor
enactorctl doctor --json
enactorctl doctor --conformance try.example.com
enactorctl doctor --conformance try.example.com --server 192.0.2.53:53 --key-file try.key
"""
    )
)
@click.option("--conformance", "zone", metavar="ZONE", help="Try instead whether the DNS server of ZONE qualifies.")
@click.option("--server", metavar="HOST:PORT", help="Its server; with it, no config is read.")
@click.option(
    "--key-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The key for --server, as tsig-keygen or keymgr -t print it.",
)
@click.option("--yes", is_flag=True, help="Remove what a trial that was cut off has left in ZONE.")
@on_site
def doctor(zone: str | None, server: str | None, key_file: Path | None, yes: bool) -> int:
    """Look for all that keeps an enactor with this config from its work, and say what to type.

    It looks at config, store, limits, ids, clocks, every zone with its key and its rights, verify
    servers, connections, certificates and disk. It changes nothing that matters: one key of its own is
    put into the store and deleted, and updates of a zone change no record. What is away stops no
    other check. Exit codes: 0 all is well (warnings, too); 1 a fault; 3 something could not be
    looked at.

    With --conformance it tries, on the server itself, every property that the fence needs, in a
    zone that is meant for it and that no enactor writes: it writes below enactord-conformance in
    that zone, and removes all of it. Exit codes: 0 the server qualifies; 1 a property is missing; 3
    a property that is needed could not be tried.
    """
    if zone is None:
        if server or key_file or yes:
            raise click.UsageError("--server, --key-file and --yes go together with --conformance ZONE")
        return _examine()
    target = _target(parse_name(zone), server, key_file)
    with progress("trying") as bar:
        found = asyncio.run(conform(target, SystemClock(), take_over=yes, progress=bar.advance))
    if isinstance(found, Denied):
        return deny(found)
    show(found.document(), lambda out: _print_conformance(out, found))
    if found.qualifies:
        return OK
    return NO if any(result.verdict is Verdict.FAIL for result in found.lacking) else UNREACHABLE


def _examine() -> int:
    config = load_config(config_path())
    with progress("examining") as bar:
        report = asyncio.run(examine(config, progress=bar.advance))
    show(report.document(), lambda out: _print(out, report))
    if report.count(State.FAULT):
        return NO
    return UNREACHABLE if report.count(State.UNKNOWN) else OK


def _target(zone: str, server: str | None, key_file: Path | None) -> Target:
    """Return what is to be tried: as the options say, else as the config does."""
    if (server is None) != (key_file is None):
        raise click.UsageError("--server and --key-file go together")
    if server is not None and key_file is not None:
        address = parse_address(server)
        if address is None:
            raise click.UsageError(f"--server {server!r} must be host:port (an IPv6 address in brackets)")
        try:
            key = parse_key_file(read_bounded(key_file))
        except NoKey as error:
            raise click.UsageError(f"{key_file}: {error}") from error
        if not key.name:
            raise click.UsageError(f"{key_file}: it does not tell the key's name; give what tsig-keygen prints")
        tsig = TsigKey(name=key.name, algorithm=key.algorithm or "hmac-sha256", secret=key.secret)
        return Target(zone=zone, host=address.host, port=address.port, key=tsig)
    config = load_config(config_path(), for_daemon=False)
    found = next((one for one in config.zones if one.name == zone), None)
    if found is None:
        named = ", ".join(one.name for one in config.zones)
        raise click.UsageError(f"{zone} is no zone of this config ({named}); or give --server and --key-file")
    if not isinstance(found, UpdatedZone) or lacks_key(config, found):
        raise click.UsageError(f"{zone} has no server that takes RFC 2136 updates now (backend {found.backend})")
    return Target(
        zone=zone,
        host=found.first_server.host,
        port=found.first_server.port,
        key=found.tsig(config.enactor.state_dir),
        timeout_s=found.timeout_s,
    )


def _print(out: Out, report: Report) -> None:
    group = None
    for check in report.checks:
        if check.group is not group:
            group = check.group
            out.line((group.value, "bold"))
        _print_one(out, check.state, f"{check.subject}: {check.seen}", f"do: {check.fix}" if check.fix else "")
    out.line(", ".join(f"{report.count(state)} {state.value}" for state in State))


def _print_conformance(out: Out, found: Conformance) -> None:
    for result in found.results:
        needed = "needed" if result.needed else "useful"
        _print_one(out, result.verdict, f"{result.name} ({needed}): {result.title}: {result.evidence}", result.meaning)
    server = f"{found.server}{f' ({found.version})' if found.version else ''}"
    if found.left:
        out.line(("warning: ", "yellow"), found.left)
    if found.qualifies:
        out.line((f"{server} qualifies", "bold"))
    else:
        lacking = ", ".join(f"{result.name} {result.verdict.value}" for result in found.lacking)
        out.line((f"{server} does not qualify", "bold"), f": {lacking}")


def _print_one(out: Out, state: Any, told: str, more: str) -> None:
    """Print a state, what was seen, and indented below it what that means or needs."""
    first, *rest = _wrapped(told)
    out.line("  ", (f"{state.value:<{_INDENT - 2}}", _COLOURS[state]), first)
    for line in rest:
        out.line(" " * _INDENT + line)
    for number, line in enumerate(_wrapped(more)):
        out.line(" " * (_INDENT if number == 0 else _INDENT + 4) + line)


def _wrapped(text: str) -> list[str]:
    """Return a text in lines that fit a terminal of 80 columns; no name and no word of a command is broken."""
    return textwrap.wrap(text, _WIDTH - _INDENT - 4, break_long_words=False, break_on_hyphens=False)
