"""`enactord dev`: one command, and answers come; an enactor killed changes nothing; Ctrl-C ends all."""

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from enactord.backends.readers.bulk import BulkReader
from enactord.core.errors import ZoneDown
from tests.servers.dns_server import free_port

NAME = "dynamodb.us-east-1.amazonaws.com."


async def get(url: str) -> dict[str, object]:
    def fetch() -> dict[str, object]:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: dict[str, object] = json.loads(answer.read())
            return found

    return await asyncio.to_thread(fetch)


async def up(url: str) -> None:
    """Wait until a page answers."""
    while True:
        try:
            await get(url)
            return
        except OSError:
            await asyncio.sleep(0.1)


async def test_one_command_serves_and_survives_a_killed_enactor(tmp_path: Path) -> None:
    """From nothing to answers for A and AAAA; one of three is killed; the rest goes on; Ctrl-C: exit 0."""
    dns_port = free_port(4)
    http_port = dns_port + 1
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "enactord.cli.daemon",
        "dev",
        "--endpoints=60",
        "--interval=1",
        f"--state={tmp_path / 'dev'}",
        f"--dns-port={dns_port}",
        f"--http-port={http_port}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    lines: list[str] = []

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            lines.append(line.decode())

    reading = asyncio.create_task(read())
    reader = BulkReader("127.0.0.1", dns_port, timeout_s=2)
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    records = (await reader.read([NAME]))[NAME].records
                    if records.a and records.aaaa:
                        break
                except (ZoneDown, KeyError):
                    pass
                assert process.returncode is None, "".join(lines)
                await asyncio.sleep(0.1)
            pid = int(re.search(r"enactor-b\s+pid (\d+)", "".join(lines))[1])  # type: ignore[index]
            os.kill(pid, signal.SIGKILL)
            for number in (0, 2):
                await up(f"http://127.0.0.1:{http_port + number}/healthz")
            status = await get(f"http://127.0.0.1:{http_port}/api/v1/status")
            before = status["head"]
            while True:
                status = await get(f"http://127.0.0.1:{http_port}/api/v1/status")
                zones = status["zones"]
                assert isinstance(zones, list)
                assert isinstance(before, int)
                if all(zone["applied"] >= before + 2 for zone in zones):
                    break
                await asyncio.sleep(0.2)
            assert (await reader.read([NAME]))[NAME].records.a
            assert (await get(f"http://127.0.0.1:{http_port + 2}/readyz"))["status"] == "ready"
            assert (await get(f"http://127.0.0.1:{http_port}/healthz"))["status"] == "ok"
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading
        await reader.close()
        for log in sorted((tmp_path / "dev").glob("*.log")):
            print(f"{log.name}: {log.read_text()[-2000:]}")  # seen where the test fails
        print("".join(lines))
    said = "".join(lines)
    assert "Traceback" not in said
    assert "has ended (exit -9); the others go on" in said


async def test_a_port_in_use_names_the_option_that_changes_it(tmp_path: Path) -> None:
    """Exit 2, before anything is started."""
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "enactord.cli.daemon",
        "dev",
        f"--state={tmp_path / 'dev'}",
        f"--dns-port={port}",
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await process.communicate()
    assert process.returncode == 2
    assert b"--dns-port" in error
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("text", ["not json", '{"schema": "enactord.plan/v1", "scope": "us-east-1", "endpoints": {}}'])
async def test_a_plan_that_cannot_be_used_is_told(tmp_path: Path, text: str) -> None:
    """`dev --plan` refuses what publish would refuse, with a message and no traceback."""
    (tmp_path / "plan.json").write_text(text)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "enactord.cli.daemon",
        "dev",
        f"--plan={tmp_path / 'plan.json'}",
        f"--state={tmp_path / 'dev'}",
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await process.communicate()
    assert process.returncode == 1
    assert b"Traceback" not in error
    assert b"plan" in error
