"""A drill by the runbook alone: its commands, as they stand there, on three enactors, etcd and Knot.

Only the examples' names, numbers and paths are replaced. All the while users ask for every name.
"""

import asyncio
import json
import shlex
import shutil
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.deploy.process import Service, service
from tests.docs.cli import PROGRAMS
from tests.docs.runbook import commands, sections
from tests.e2e.watcher import Watcher
from tests.servers.dns_server import free_port
from tests.servers.etcd import Etcd
from tests.servers.knot import Knot
from tests.world import SCOPE, ZONE, fleet, plan

pytestmark = pytest.mark.timeout(300)

COUNT = 60
LIMIT_S = 60.0
NAME = f"n00000.{ZONE}"
EMERGENCY = ["198.51.100.10", "198.51.100.11"]
"""The addresses of the runbook's example."""

CONFIG = """
[enactor]
id = "{id}"
scope = "{scope}"
state_dir = "{id}"
[store]
url = "{url}"
timeout_s = 2
claim_ttl_s = 3
[[zone]]
name = "{zone}"
backend = "rfc2136"
server = "{host}:{port}"
tsig_name = "enactor"
tsig_secret_file = "tsig.secret"
timeout_s = 2
[guard]
allow_private = true
endpoints_replaced_max_ratio = 1.0
scope_capacity_removed_max_ratio = 1.0
[repair]
interval_s = 1
[http]
listen = "127.0.0.1:{http}"
"""


class Drill:
    """The desk of whoever is on call."""

    def __init__(self, folder: Path, etcd: Etcd, server: Knot) -> None:
        self.folder = folder
        self.etcd = etcd
        self.server = server
        self.enactors: list[Service] = []
        self.http = free_port(3)
        (folder / "tsig.secret").write_text(server.secret)
        (folder / "tsig.secret").chmod(0o600)
        for index in range(3):
            self.config(index).write_text(
                CONFIG.format(
                    id=f"e{index}",
                    scope=SCOPE,
                    zone=ZONE,
                    url=etcd.url,
                    host=server.host,
                    port=server.port,
                    http=self.http + index,
                )
            )

    def config(self, index: int) -> Path:
        return self.folder / f"e{index}.toml"

    def write(self, endpoints: Mapping[str, Sequence[str]]) -> None:
        """Lay the plan ready that the runbook calls plan.json."""
        (self.folder / "plan.json").write_text(json.dumps(plan(endpoints)))

    async def type(self, command: str) -> Result:
        """Type a command, once."""
        program, *words = shlex.split(command)
        environ = {"ENACTORD_CONFIG": str(self.config(0))}
        result = await asyncio.to_thread(CliRunner().invoke, PROGRAMS[program], words, env=environ)
        print(f"$ {command}\n{result.output}")  # seen where the test fails
        return result

    def adapt(self, command: str, numbers: Mapping[str, str] | None = None) -> str:
        """Return a command of the runbook with the drill's names in place of the examples'."""
        examples = {
            "us-east-1.example.com": ZONE,
            f"api.{ZONE}": NAME,
            "plan.json": str(self.folder / "plan.json"),
            "/var/backups/enactord-$(date +%F)": str(self.folder / "backup"),
            "/var/backups/enactord-2026-01-31": str(self.folder / "backup"),
            "--for 30": "--for 1",
        }
        for word, other in (examples | dict(numbers or {})).items():
            command = command.replace(word, other)
        return command

    async def follow(
        self, title: str, numbers: Mapping[str, str] | None = None, *, without: str = "-"
    ) -> dict[str, str]:
        """Type the commands of a procedure in order; returns what each said. All must succeed in the end.

        `without`: an option of a command that this night has no use for; tests/runbook types it.
        """
        chosen = [command for command in commands(sections(2)[title]) if without not in command.split()]
        return {command: await self.succeed(self.adapt(command, numbers)) for command in chosen}

    async def publish(self, endpoints: Mapping[str, Sequence[str]]) -> None:
        self.write(endpoints)
        await self.succeed(self.adapt("enactorctl publish plan.json"))

    async def succeed(self, command: str) -> str:
        """Type a command; a look at what is on its way is taken again until it finds all well."""
        async with asyncio.timeout(LIMIT_S):
            while (result := await self.type(command)).exit_code != 0:
                assert command == "enactorctl verify", result.output
                await asyncio.sleep(0.3)
        return result.output

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.type("enactorctl status --json")).stdout)
        return found

    async def settled(self, generation: int) -> None:
        """Wait until the zone conforms to a plan by the ledger, too."""
        async with asyncio.timeout(LIMIT_S):
            while (await self.status())["zones"][0]["applied"] != generation:
                await asyncio.sleep(0.2)

    async def reasons(self, index: int) -> list[str]:
        """Return why an enactor says that it is degraded."""

        def ask() -> list[str]:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http + index}/readyz", timeout=10) as answer:
                found: list[str] = json.load(answer)["reasons"]
                return found

        return await asyncio.to_thread(ask)


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    with Etcd() as etcd, Knot([ZONE]) as server:
        yield Drill(tmp_path, etcd, server)


@pytest.fixture
async def users(drill: Drill) -> AsyncIterator[Watcher]:
    """Those who ask for the names, with the three enactors at work."""
    async with AsyncExitStack() as stack:
        for index in range(3):
            drill.enactors.append(await stack.enter_async_context(service(drill.config(index))))
        yield await stack.enter_async_context(Watcher(drill.server.host, drill.server.port, sorted(fleet(COUNT))))
        for enactor in drill.enactors:
            print(enactor.standing(), enactor.text[-2000:], sep="\n")  # seen where the test fails


def served(users: Watcher) -> dict[str, frozenset[str]]:
    return {answer.name: answer.addresses for answer in users.history}


async def until_served(users: Watcher, endpoints: Mapping[str, Sequence[str]]) -> None:
    wanted = {name: frozenset(addresses) for name, addresses in endpoints.items()}
    await until(lambda: served(users) == wanted)


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not what():
            await asyncio.sleep(0.02)


async def test_the_runbook_carries_through_an_evil_night(drill: Drill, users: Watcher) -> None:
    """Freeze, roll back, approve, lose etcd, restore it, break the glass, release: and nobody sees an empty name."""
    await drill.publish(fleet(COUNT, 1))
    await until_served(users, fleet(COUNT, 1))
    await drill.settled(1)
    await drill.follow("Back up")

    # A freeze in the middle of an apply: nothing moves until the thaw.
    await drill.publish(fleet(COUNT, 2))
    freezing, *others = commands(sections(2)["Freeze"])
    await drill.succeed(freezing)
    assert "FROZEN (all)" in await drill.succeed("enactorctl status")
    await asyncio.sleep(1)  # what was on its way has landed
    before = served(users)
    await asyncio.sleep(1)
    assert served(users) == before
    assert "enactorctl thaw" in others
    await drill.follow("Freeze")
    await until_served(users, fleet(COUNT, 2))
    assert "thaw" in await drill.succeed("enactorctl audit")

    # A bad plan, and back.
    await drill.publish(fleet(COUNT, 3))
    await until_served(users, fleet(COUNT, 3))
    await drill.follow("Roll back", {"103": "3", "102": "2"}, without="--to-last-whole")
    await until_served(users, fleet(COUNT, 2))

    # One endpoint loses three quarters of its capacity: held, then approved.
    shrunk = fleet(COUNT, 5, addresses=4)
    await drill.publish(shrunk)
    await until_served(users, shrunk)
    shrunk = shrunk | {NAME: ["10.99.0.1"]}
    await drill.publish(shrunk)
    async with asyncio.timeout(LIMIT_S):
        while "velocity" not in await drill.succeed("enactorctl endpoints --state held"):
            await asyncio.sleep(0.2)
    assert served(users)[NAME] == set(fleet(COUNT, 5, addresses=4)[NAME])
    assert (await drill.status())["head"] == 6
    said = await drill.follow("Approve a held plan", {"104": "6"})
    assert "velocity" in said["enactorctl endpoints --state held"]
    await until_served(users, shrunk)

    # The store is lost with all it held; the backup is five plans old.
    drill.etcd.kill()
    shutil.rmtree(drill.etcd.dir / "data")
    await until(lambda: all("degraded: store" in enactor.standing() for enactor in drill.enactors))
    drill.etcd.start()
    newest = fleet(COUNT, 8, addresses=4)
    drill.write(newest)
    said = await drill.follow("Restore the store from a backup")
    assert "waits for the next publication" in next(iter(said.values()))
    await until_served(users, newest)
    assert (await drill.status())["head"] > 7

    # Enactors and store gone, and a name must change.
    for enactor in drill.enactors:
        enactor.signal(signal.SIGSTOP)
    drill.etcd.kill()
    set_, seal, release, *rest = commands(sections(2)["Break the glass"])
    for command in (set_, seal):
        await drill.succeed(drill.adapt(command))
    broken = newest | {NAME: EMERGENCY}
    await until_served(users, broken)
    drill.etcd.start()
    for enactor in drill.enactors:
        enactor.signal(signal.SIGCONT)
    async with asyncio.timeout(LIMIT_S):
        for index in range(3):
            while not any("held by an operator" in reason for reason in await drill.reasons(index)):
                await asyncio.sleep(0.1)
    drill.write(fleet(COUNT, 9, addresses=4))
    assert served(users) == {name: frozenset(addresses) for name, addresses in broken.items()}
    for command in (release, *rest):
        await drill.succeed(drill.adapt(command))
    await until_served(users, fleet(COUNT, 9, addresses=4))
    for index in range(3):
        async with asyncio.timeout(LIMIT_S):
            while await drill.reasons(index):
                await asyncio.sleep(0.1)

    await users.look()
    assert users.emptied() == []
    assert [enactor.text for enactor in drill.enactors if "Traceback" in enactor.text] == []
