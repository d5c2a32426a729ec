"""The parsers under a coverage-guided fuzzer: python -m tests.hostile.fuzz [TARGET] --seconds N

Each target runs in a process of its own, because the fuzzer ends the one that it runs in; nothing of
enactord is imported before the fuzzer can instrument it.
"""

import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console

OUT = Console(highlight=False)
_INPUT_BYTES_MAX = 4096
_UNIT_TIMEOUT_S = 10
_EXCEPTION = "Uncaught Python exception"  # how atheris begins to tell of one
_SHOWN_MAX = 4000
_MEMORY_MB = 2048
_ROOT = Path(__file__).resolve().parents[2]

Fuzz = Callable[[bytes], None]


class Target(NamedTuple):
    """What a parser is fed with, and the check of what it makes of it: any exception is a find."""

    seeds: Sequence[bytes]
    check: Fuzz


def plan() -> Target:
    """A plan document, as a planner sends it."""
    from tests.hostile import test_plan

    def check(data: bytes) -> None:
        test_plan.read(data)

    return Target([test_plan.DOCUMENT, b"{}", b"[" * 100], check)


def values() -> Target:
    """A plan document of well-formed JSON, any value in any place; the bytes are Hypothesis's choices."""
    from tests.hostile.test_plan import test_any_value_in_any_place as test

    def check(data: bytes) -> None:
        test.hypothesis.fuzz_one_input(data)  # type: ignore[attr-defined]

    return Target([bytes(64), bytes(range(256))], check)


def ledger() -> Target:
    """A bucket of the ledger, as the store has it but for the compression."""
    from enactord.core.ledger import parse_bucket
    from tests.hostile.test_stored import HEADER, LEDGER, usable

    def check(data: bytes) -> None:
        usable(parse_bucket(HEADER + zlib.compress(data, 1)))

    assert parse_bucket(HEADER + zlib.compress(LEDGER, 1))
    return Target([LEDGER, *LEDGER.splitlines(keepends=True)], check)


def manifest() -> Target:
    """A manifest, as the store has it but for the compression."""
    from tests.hostile.test_stored import MANIFEST_TEXT, read_manifest

    return Target([MANIFEST_TEXT, b"{}"], read_manifest)


def answer() -> Target:
    """A server's reply to a question of ours."""
    from enactord.wire.answer import BrokenAnswer, parse_answer
    from tests.hostile import test_wire

    def check(data: bytes) -> None:
        for rtype, question in test_wire.QUESTIONS.items():
            try:
                test_wire.check(parse_answer(data, question), rtype)
            except BrokenAnswer:
                pass

    return Target([reply for replies in test_wire.REPLIES.values() for reply in replies], check)


def signature() -> Target:
    """A server's signed reply to an update of ours."""
    from tests.hostile import test_wire

    def check(data: bytes) -> None:
        if test_wire.verifies(data):
            assert data[2:] == test_wire.SIGNED[2:] or data.lower()[2:] == test_wire.SIGNED.lower()[2:]

    return Target([test_wire.SIGNED], check)


def request() -> Target:
    """A message to the embedded server."""
    from enactord.dns_server.responder import Responder
    from tests.embedded_lab import KEY
    from tests.hostile.test_embedded import SEEDS
    from tests.property.test_embedded_parser import NOW, zone

    served = zone()
    responder = Responder({served.origin: served}, [KEY], clock=lambda: NOW, udp_bytes_max=4096)

    def check(data: bytes) -> None:
        for over_tcp in (False, True):
            response = responder.respond(data, over_tcp)
            if isinstance(response, bytes):
                assert response[:2] == data[:2]
                assert response[2] & 0x80
                assert responder.respond(data, over_tcp) == response

    return Target(SEEDS, check)


def update() -> Target:
    """An update whose signature is good: what it asks for, as far as the zone that it would make."""
    from enactord.dns_server.request import parse_request
    from enactord.dns_server.update import Rejected, evaluate
    from enactord.dns_server.zone import SOA
    from enactord.wire.names import Malformed
    from tests.hostile.test_embedded import SEEDS
    from tests.property.test_embedded_parser import zone

    served = zone()

    def check(data: bytes) -> None:
        if len(data) < 12:
            return  # the responder drops it
        try:
            read = parse_request(data)
            draft = evaluate(served, served.origin, data, read.prerequisites, read.updates)
        except (Malformed, Rejected):
            return
        assert SOA in draft.node(served.origin)

    return Target(SEEDS, check)


TARGETS: dict[str, Callable[[], Target]] = {
    make.__name__: make for make in (plan, values, ledger, manifest, answer, signature, request, update)
}


@click.command()
@click.argument("target", type=click.Choice(sorted(TARGETS)), required=False)
@click.option("--seconds", type=click.IntRange(1), default=60, show_default=True, help="Shared by the targets.")
@click.option("--corpus", type=click.Path(path_type=Path), help="Keep what was found to reach new code here.")
@click.option("--here", is_flag=True, hidden=True)
def main(target: str | None, seconds: int, corpus: Path | None, here: bool) -> None:
    """Feed TARGET, or each in turn, with what a coverage-guided fuzzer makes up."""
    if importlib.util.find_spec("atheris") is None:
        OUT.print("atheris is not installed: pip install 'enactord[fuzz]', or make fuzz", style="red", markup=False)
        sys.exit(2)
    if here:
        assert target is not None
        assert corpus is not None
        _fuzz(target, seconds, corpus)
    names = [target] if target else list(TARGETS)
    with tempfile.TemporaryDirectory() as scratch:
        base = corpus or Path(scratch)
        found = [_run(name, max(1, seconds // len(names)), base / name) for name in names]
    sys.exit(1 if any(found) else 0)


def _run(name: str, seconds: int, corpus: Path) -> bool:
    """Fuzz one target in a child; tell what came of it; return whether it found something."""
    corpus.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "tests.hostile.fuzz",
        name,
        "--here",
        "--seconds",
        str(seconds),
        "--corpus",
        str(corpus),
    ]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, errors="replace", check=False)
    output = done.stdout + done.stderr
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    covered = re.findall(r"cov: (\d+)", output)
    count = int(executed[1]) if executed else 0
    OUT.print(
        f"{name:10} {count:>9,} inputs, {count // seconds:>7,}/s, {covered[-1] if covered else 0:>5} edges: "
        + ("nothing found" if done.returncode == 0 and count else "FOUND")
    )
    if done.returncode == 0 and count:
        return False
    start = output.find(_EXCEPTION)
    OUT.print(output[start : start + _SHOWN_MAX] if start >= 0 else output[-_SHOWN_MAX:], markup=False)
    for crash in sorted(corpus.parent.glob(f"{name}-found-*")):
        OUT.print(f"input: {crash.read_bytes()!r}", markup=False)
        shutil.copy(crash, Path.cwd() / crash.name)
        OUT.print(f"kept as {crash.name}")
    return True


def _fuzz(name: str, seconds: int, corpus: Path) -> None:
    """Run the fuzzer in this process; it ends the process."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["enactord"]):
        target = TARGETS[name]()
    seeds = [seed for seed in target.seeds if len(seed) <= _INPUT_BYTES_MAX]
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={seconds}",
            f"-max_len={_INPUT_BYTES_MAX}",
            f"-timeout={_UNIT_TIMEOUT_S}",
            f"-rss_limit_mb={_MEMORY_MB}",
            f"-artifact_prefix={corpus.parent}/{name}-found-",
            "-print_final_stats=1",
        ],
        target.check,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
