"""The desk of whoever is on call: a shell, and a live system of etcd, BIND with a secondary, and enactors.

The scope, its zone and its names are those of the runbook's examples. `PLACES` is all that is put in the place of what
the runbook says: it names a machine of its own, and the drill is not that machine.
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.exception
import dns.message
import dns.tsigkeyring
import dns.update
from click.testing import CliRunner

from enactord.cli.ctl import main as ctl
from tests.docs.reference import ROOT
from tests.runbook.enactor import RELOAD, Enactor
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer, free_port
from tests.servers.etcd import Etcd
from tests.servers.secondaries import MovableBind
from tests.world import plan

SCOPE = "us-east-1"
ZONE = "us-east-1.example.com."
API, WWW = f"api.{ZONE}", f"www.{ZONE}"
NAMES = (API, WWW, *(f"n{number}.{ZONE}" for number in range(6)))
FIRST = 101
"""The generation of the first plan: the runbook's examples begin there."""
LIMIT_S = 60.0
_QUOTA_BYTES = 16 * 1024 * 1024
_TYPED_S = 400.0

PLACES: Sequence[tuple[str, str]] = (
    (r"(?<![\w.])/(etc|var|opt|usr/lib)/", r"{root}/\1/"),
    (r"@192\.0\.2\.53\b", "@127.0.0.1 -p {primary}"),
    (r"@192\.0\.2\.54\b", "@127.0.0.1 -p {secondary}"),
    (r"\b127\.0\.0\.1:8451\b", "127.0.0.1:{http}"),
    (r"https://enactor-a\.example\.com:8451\b", "http://127.0.0.1:{http}"),
    (r"~/\.enactord-token\b", "{root}/enactord-token"),
    (r"--for 30\b", "--for 2"),
    (r"^systemd-(sysusers|tmpfiles) ", r"systemd-\1 --root={root} "),
    (r"\broot:enactord\b", "{user}:{group}"),
    (r" -g enactord ", " -g {group} "),
    (r"\b5f3a91c0b7d2e846\b", "{refused}"),
    (r"\b198\.51\.100\.7\b", "{address}"),
    (r"\b9f3a1c\b", "{override}"),
)
"""Pattern and replacement: paths lie below a folder of the drill, addresses are on loopback, waits are shorter."""

CONFIG = """
[enactor]
id = "{id}"
scope = "us-east-1"
state_dir = "{state}"
[store]
url = "{store}"
timeout_s = 1
claim_ttl_s = 3
[[zone]]
name = "us-east-1.example.com."
backend = "rfc2136"
server = "127.0.0.1:{primary}"
verify = ["127.0.0.1:{primary}", "127.0.0.1:{secondary}"]
tsig_name = "enactor"
tsig_secret_file = "credentials/tsig.secret"
timeout_s = 1.0
verify_timeout_s = 1.0
[guard]
allow_private = true
endpoints_replaced_max_ratio = 1.0
scope_capacity_removed_max_ratio = 1.0
[repair]
interval_s = 1.0
fence_interval_s = 1.0
[http]
listen = "127.0.0.1:{http}"
tokens_file = "http.tokens"
[log]
format = "json"
"""


@dataclass(frozen=True, slots=True)
class Typed:
    """What a command said, stdout and stderr together, and its exit code."""

    code: int
    text: str


class Desk:
    """A live system, the hands that spoil it, and a shell in which the runbook's commands are typed."""

    def __init__(self, folder: Path) -> None:
        self.root = self.cwd = folder
        self.etc = folder / "etc" / "enactord"
        self.state = folder / "var" / "lib" / "enactord"
        for path in (self.etc / "credentials", self.state, folder / "var" / "backups"):
            path.mkdir(parents=True)
        self.config = self.etc / "enactord.toml"
        self.http = free_port(2)
        self.etcd = Etcd(options=[f"--quota-backend-bytes={_QUOTA_BYTES}"])
        self.primary = MovableBind([ZONE])
        self.secondary = MovableBind([ZONE], primary=self.primary)
        self.enactors: list[Enactor] = []
        self.generation = FIRST - 1
        self.planned: dict[str, list[str]] = {}
        """What should be served in the end."""
        self.said: dict[str, str] = {}
        """What a command said when it was typed last, by its first words up to an argument."""
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
            "PYTHONPATH": str(ROOT),
            "ENACTORD_CONFIG": str(self.config),
            "ETCDCTL_ENDPOINTS": self.etcd.endpoint,
            "COLUMNS": "200",
        }
        self._places = {
            "root": str(folder),
            "primary": self.primary.port,
            "secondary": self.secondary.port,
            "http": self.http,
            "user": os.geteuid(),
            "group": os.getegid(),
            "refused": "",
            "address": "",
            "override": "",
        }

    # -- the live system

    def write_config(self, index: int) -> Path:
        """Write the config of an enactor; the first is the one that the runbook's commands find."""
        path = self.config if index == 0 else self.etc / f"e{index + 1}.toml"
        path.write_text(
            CONFIG.format(
                id=f"e{index + 1}",
                state=self.state if index == 0 else self.state.with_name(f"e{index + 1}"),
                store=self.etcd.url,
                primary=self.primary.port,
                secondary=self.secondary.port,
                http=self.http + index,
            )
        )
        return path

    def edit_config(self, old: str, new: str, index: int = 0) -> None:
        path = self.config if index == 0 else self.etc / f"e{index + 1}.toml"
        text = path.read_text()
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new))

    def secret(self, text: str = SECRET, name: str = "tsig.secret") -> None:
        path = self.etc / "credentials" / name
        path.write_text(text + "\n")
        path.chmod(0o600)

    async def start(self, stack: AsyncExitStack, enactors: int) -> None:
        """Start servers and enactors, and wait until the first two plans, 101 and 102, are served by both servers."""
        self._stack = stack
        await asyncio.to_thread(self._start_servers, stack)
        following = asyncio.create_task(self._follow())
        stack.callback(following.cancel)
        self.secret()
        (self.etc / "http.tokens").touch(0o600)
        for index in range(enactors):
            enactor = Enactor(f"e{index + 1}", self.write_config(index))
            stack.push_async_callback(enactor.remove)
            self.enactors.append(enactor)
        if not enactors:
            self.write_config(0)
            return
        for enactor in self.enactors:
            assert await enactor.start(self.env), enactor.journal.read_text()
        for _ in range(2):
            await self.publish(self.content())
            await self.served()
        await self.well()

    def _start_servers(self, stack: AsyncExitStack) -> None:
        for server in (self.primary, self.secondary):
            server.start()
            stack.callback(server.remove)
        stack.callback(self.etcd.remove)
        self.etcd.start()

    async def _follow(self) -> None:
        """Have the secondary ask for the zone all the while, as if it were notified."""
        while True:
            await asyncio.sleep(0.3)
            with contextlib.suppress(subprocess.SubprocessError):
                await asyncio.to_thread(self.secondary.rndc, "refresh", ZONE)

    # -- the shell

    def adapt(self, command: str) -> str:
        """Return a command of the runbook with this machine's places in place of the examples'."""
        for pattern, place in PLACES:
            command = re.sub(pattern, place.format(**self._places), command)
        return command

    async def type(self, command: str) -> Typed:
        """Type a command of the runbook, once; what it sets and exports holds for the next one."""
        program, _, words = command.partition(" ")
        if program == "systemctl":
            typed = await self._systemctl(*words.split())
        elif program == "journalctl":
            typed = Typed(0, self.enactors[0].journal.read_text())
        else:
            typed = await self._shell(self.adapt(command))
        print(f"$ {command}\n{typed.text}[{typed.code}]")  # seen where the test fails
        self.said[_verb(command)] = typed.text
        return typed

    async def _shell(self, command: str) -> Typed:
        kept = self.root / "shell.env"
        script = f"set -a\n{command}\ncode=$?\nenv -0 > {kept}\nexit $code"
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", script),
            env=self.env,
            cwd=self.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(_TYPED_S):
            out, _ = await process.communicate()
        pairs = (entry.partition("=") for entry in kept.read_text().split("\0") if entry)
        self.env = {name: value for name, _, value in pairs if name not in ("code", "_", "SHLVL")}
        assert process.returncode is not None
        return Typed(process.returncode, out.decode())

    async def _systemctl(self, verb: str, *words: str) -> Typed:
        """Do with the first enactor what the unit tells systemd to do."""
        enactor = self.enactors[0] if self.enactors else self.add_enactor()
        match verb:
            case "status":
                state = "active (running)" if enactor.alive() else "failed"
                return Typed(0 if enactor.alive() else 3, f"Active: {state}\nStatus: {enactor.standing()}\n")
            case "daemon-reload":
                return Typed(0, "")
            case "stop":
                await enactor.stop()
                return Typed(0, "")
            case "start" | "enable" | "restart":
                await enactor.stop()
                return Typed(0, "") if await enactor.start(self.env) else Typed(1, enactor.journal.read_text())
            case "reload":
                ready = enactor.notices.count("READY=1")
                for line in RELOAD:
                    done = await self._shell(
                        self.adapt(line.replace("/opt/enactord/bin/", "")).replace("$MAINPID", str(enactor.pid))
                    )
                    if done.code:
                        return done
                await self.until(lambda: enactor.notices.count("READY=1") > ready, "READY=1 after the reload")
                return Typed(0, "")
        raise AssertionError(verb)

    def add_enactor(self) -> Enactor:
        """Return an enactor of a machine that had none: by the program that was installed there, if one was."""
        installed = self.root / "opt" / "enactord" / "bin" / "enactord"
        enactor = Enactor("e1", self.config, (str(installed),)) if installed.exists() else Enactor("e1", self.config)
        self.enactors.append(enactor)
        self._stack.push_async_callback(enactor.remove)
        return enactor

    # -- hands

    async def ctl(self, *words: str, code: int | None = 0) -> Any:
        """Run a command that is none of the runbook's; returns its document."""
        arguments = ["--config", str(self.config), *words, "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, ctl, arguments)
        assert code is None or done.exit_code == code, done.output
        return json.loads(done.stdout) if done.stdout else None

    async def publish_refused(self, endpoints: Mapping[str, Sequence[str]]) -> None:
        """Publish a plan that guards refuse: what the runbook calls by a digest of its own is this one from now on."""
        before = self.planned
        done = await self.ctl("publish", str(self.write_plan(endpoints)), code=1)
        self.planned = before
        self._places["refused"] = done["error"]["kept"][:20]

    def burn(self, address: str) -> None:
        """A rack is on fire: the address that the runbook names is this one from now on."""
        self._places["address"] = address

    async def find_override(self) -> None:
        """The override that the runbook names is the one that is in force."""
        self._places["override"] = (await self.ctl("override", "list"))["overrides"][0]["id"]

    def content(self, **changes: Sequence[str]) -> dict[str, list[str]]:
        """Return what the next plan says: addresses that tell its generation; `changes` by the first label."""
        number = (self.generation + 1) % 256
        found = {name: [f"10.{number}.{place}.{i}" for i in (1, 2, 3, 4)] for place, name in enumerate(NAMES)}
        return found | {f"{label}.{ZONE}": list(addresses) for label, addresses in changes.items()}

    def write_plan(self, endpoints: Mapping[str, Sequence[str]], generation: int | None = None) -> Path:
        """Lay the plan ready that the runbook calls plan.json. What it says should be served in the end."""
        path = self.cwd / "plan.json"
        numbered = {} if generation is None else {"generation": generation}
        path.write_text(json.dumps(plan(endpoints, scope=SCOPE, **numbered)))
        self.planned = {name: list(addresses) for name, addresses in endpoints.items() if addresses}
        return path

    async def publish(self, endpoints: Mapping[str, Sequence[str]], *words: str) -> None:
        """Publish a plan under the next generation."""
        self.generation += 1
        first = self.generation if self.generation == FIRST else None
        await self.ctl("publish", str(self.write_plan(endpoints, first)), *words)

    async def edit(self, change: Callable[[dns.update.UpdateMessage], None]) -> None:
        """Change the zone by the other key, as somebody else would."""
        keyring = dns.tsigkeyring.from_text({"foreign": FOREIGN_SECRET})
        update = dns.update.UpdateMessage(ZONE, keyring=keyring, keyalgorithm="hmac-sha256")
        change(update)
        answer = await dns.asyncquery.tcp(update, "127.0.0.1", timeout=10, port=self.primary.port)
        assert answer.rcode() == 0, answer

    async def fence(self, text: str) -> None:
        """Put another text in the place of the zone's fence."""
        await self.edit(lambda update: update.replace(f"_enactord.{ZONE}", 0, "TXT", f'"{text}"'))

    async def etcdctl(self, *words: str, stdin: bytes | None = None, code: int | None = 0) -> str:
        """Run etcdctl; returns what it says. `code`: how it must end; None: it may fail."""
        process = await asyncio.create_subprocess_exec(
            *("etcdctl", *words),
            env=self.env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate(stdin)
        assert code is None or process.returncode == code, out.decode()
        return out.decode()

    # -- eyes

    async def ask(self, name: str, server: DnsServer | None = None) -> frozenset[str]:
        """Return the addresses that a server serves at a name, by default the primary; none: also without an answer."""
        query = dns.message.make_query(name, "A")
        with contextlib.suppress(dns.exception.DNSException, OSError):
            port = (server or self.primary).port
            answer = await dns.asyncquery.udp(query, "127.0.0.1", timeout=1, port=port)
            return frozenset(rdata.to_text() for rrset in answer.answer for rdata in rrset)
        return frozenset()

    async def served(self, *servers: DnsServer) -> None:
        """Wait until the servers, by default both, serve what was planned last."""
        for server in servers or (self.primary, self.secondary):
            for name, addresses in self.planned.items():

                async def right(name: str = name, addresses: list[str] = addresses, at: DnsServer = server) -> bool:
                    return await self.ask(name, at) == frozenset(addresses)

                await self.until(right, f"{name} served as planned")

    async def readyz(self, index: int = 0) -> dict[str, Any]:
        """Return what an enactor says of itself; nothing where it does not answer."""

        def get() -> dict[str, Any]:
            with contextlib.suppress(OSError):
                url = f"http://127.0.0.1:{self.http + index}/readyz"
                with urllib.request.urlopen(url, timeout=5) as answer:
                    found: dict[str, Any] = json.load(answer)
                    return found
            return {"status": "away", "reasons": ["it does not answer"], "notes": []}

        return await asyncio.to_thread(get)

    async def well(self) -> None:
        """Wait until every enactor is ready, with nothing to note."""
        for index in range(len(self.enactors)):

            async def ready(index: int = index) -> bool:
                seen = await self.readyz(index)
                return seen["status"] == "ready" and not seen["notes"]

            await self.until(ready, f"enactor {index + 1} well")

    async def told(self, words: str, index: int = 0) -> None:
        """Wait until an enactor tells of a fault."""

        async def tells() -> bool:
            seen = await self.readyz(index)
            return words in "; ".join([*seen["reasons"], *seen["notes"]])

        await self.until(tells, f"{words!r} in /readyz")

    async def until(self, what: Callable[[], bool | Awaitable[bool]], wanted: str) -> None:
        """Wait for a condition, with a limit."""
        deadline = asyncio.get_running_loop().time() + LIMIT_S
        while True:
            found = what()
            if (isinstance(found, bool) and found) or (not isinstance(found, bool) and await found):
                return
            if asyncio.get_running_loop().time() > deadline:
                seen = [await self.readyz(index) for index in range(len(self.enactors))]
                raise AssertionError(f"did not come: {wanted}; {seen}")
            await asyncio.sleep(0.1)


@asynccontextmanager
async def desk(folder: Path, *, enactors: int) -> AsyncIterator[Desk]:
    """Run a live system with so many enactors while the context lasts."""
    async with AsyncExitStack() as stack:
        made = Desk(folder)
        await made.start(stack, enactors)
        yield made


def _verb(command: str) -> str:
    """Return the first words of a command: its program, and the verbs of it."""
    words = command.split()
    return " ".join(words[:3] if words[0] == "enactorctl" and words[1] == "token" else words[:1])
