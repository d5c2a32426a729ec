"""`python -m bench.naive` against a server, as its help shows it."""

import asyncio
import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.naive.sites import DnsSite
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer
from tests.world import plan

COMMAND = [sys.executable, "-m", "bench.naive"]


@pytest.fixture
def command(dns_zone: tuple[DnsServer, str], tmp_path: Path) -> list[str]:
    """The command with all that it takes to reach a zone."""
    server, zone = dns_zone
    (tmp_path / "key.txt").write_text(FOREIGN_SECRET + "\n")
    (tmp_path / "transfer.txt").write_text(SECRET + "\n")
    return [
        *COMMAND,
        *("--server", f"{server.host}:{server.port}", "--zone", zone),
        *("--key-name", "foreign", "--secret-file", str(tmp_path / "key.txt")),
        *("--transfer-key-name", "enactor", "--transfer-secret-file", str(tmp_path / "transfer.txt")),
    ]


def write_plan(folder: Path, generation: int, zone: str) -> str:
    path = folder / f"plan-{generation}.json"
    path.write_text(json.dumps(plan({f"www.{zone}": [f"10.{generation}.0.1"]}, generation=generation)))
    return str(path)


def done(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def served(dns_zone: tuple[DnsServer, str]) -> tuple[str, ...]:
    server, zone = dns_zone
    return (await DnsSite(zone, server).resolve(f"www.{zone}")).addresses


async def test_plans_are_applied_and_rolled_back(
    command: list[str], dns_zone: tuple[DnsServer, str], tmp_path: Path
) -> None:
    """One after the other, each said in a line; a plan that is not newer is said too."""
    zone = dns_zone[1]
    first, second = (write_plan(tmp_path, generation, zone) for generation in (1, 2))
    applied = done([*command, "apply", first, second, first])
    assert (applied.returncode, applied.stderr) == (0, "")
    assert "plan 2 applied" in applied.stdout
    assert "plan 1 is not newer than 2" in applied.stdout
    assert await served(dns_zone) == ("10.2.0.1",)
    back = done([*command, "rollback", f"www.{zone}"])
    assert (back.returncode, back.stderr) == (0, "")
    assert await served(dns_zone) == ("10.1.0.1",)


async def test_the_newest_plan_of_a_folder_is_applied_until_interrupted(
    command: list[str], dns_zone: tuple[DnsServer, str], tmp_path: Path
) -> None:
    """A file that is no plan is said and waited out; an interrupt ends it in good order."""
    folder = tmp_path / "plans"
    folder.mkdir()
    (folder / "plan-1.json").write_text("{")
    # A shell that starts tests in the background has them ignore Ctrl-C, and what they start.
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = await asyncio.create_subprocess_exec(
        *command, "--poll", "0.05", "run", str(folder), stdout=asyncio.subprocess.PIPE, preexec_fn=listening
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while "failed" not in (await process.stdout.readline()).decode():
                pass
            write_plan(folder, 1, dns_zone[1])
            while "plan 1 applied" not in (await process.stdout.readline()).decode():
                pass
            process.send_signal(signal.SIGINT)
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert await served(dns_zone) == ("10.1.0.1",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["apply", "no-such-file.json"], "no-such-file.json"),
        (["rollback", "www.nowhere.test"], "no alias can stand"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(command: list[str], change: list[str], said: str) -> None:
    """No traceback, and not 0."""
    failed = done([*command, *change])
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert said in failed.stderr


def test_help_has_an_example_for_each_verb() -> None:
    """Which shows how it is used."""
    helped = done([*COMMAND, "--help"])
    assert helped.returncode == 0
    example = helped.stdout.partition("example:")[2]
    for verb in ("apply", "run", "rollback"):
        assert f" {verb} " in example
