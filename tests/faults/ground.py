"""What faults are made on: one zone on a primary and a secondary, a plan store, and hands to change them."""

import asyncio
import contextlib
import json
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.tsigkeyring
import dns.update
from click.testing import CliRunner

from enactord.cli.ctl import main as ctl
from enactord.clock import SystemClock
from enactord.core.plan import Manifest, read_plan
from enactord.store.keys import Keys
from enactord.store.plans import Orders, Plans
from enactord.stores.by_url import open_store
from tests.servers.certificates import Authority
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer
from tests.servers.etcd import Etcd
from tests.servers.secondaries import MovableBind
from tests.world import SCOPE, ZONE, fleet, plan

COUNT = 6
FIRST = next(iter(fleet(COUNT)))
QUOTA_BYTES = 16 * 1024 * 1024
_CONFIG = """
[enactor]
id = "{id}"
scope = "{scope}"
state_dir = "{state}"
[store]
url = "{store}"
timeout_s = 1
claim_ttl_s = 3
{certificates}
[[zone]]
name = "{zone}"
backend = "rfc2136"
server = "{server}"
verify = ["127.0.0.1:{primary}", "127.0.0.1:{secondary}"]
tsig_name = "enactor"
tsig_secret_file = "{secret}"
timeout_s = 1.0
verify_timeout_s = 1.0
[guard]
allow_private = true
velocity_window_s = 0.0
[repair]
interval_s = 1.0
fence_interval_s = 1.0
[http]
listen = "127.0.0.1:{http}"
[log]
format = "json"
"""
_CERTIFICATES = 'ca_file = "{at}/ca.pem"\ncert_file = "{at}/{id}.pem"\nkey_file = "{at}/{id}.key"'
_ONE_COMMAND = threading.Lock()
"""Commands that are run within this process take its standard output, one after the other."""


class Ground(ABC):
    """Servers that run while `stack` is open, and what people, a planner and somebody else do to them.

    `authority`: etcd wants certificates that it issued. `primary`: the primary's kind; the secondary is BIND. A fault
    of one enactor is made at the one whose config is `victim`; commands go by `config`, which stays good.
    """

    config: Path
    victim: Path
    state: Path
    """The state directory of the victim."""

    def __init__(
        self,
        folder: Path,
        stack: AsyncExitStack,
        authority: Authority | None = None,
        primary: type[DnsServer] = MovableBind,
    ) -> None:
        self.folder = folder
        self.stack = stack
        self.authority = authority
        self.applied = fleet(COUNT, 1)
        """What the newest plan that was applied says."""
        options = [f"--quota-backend-bytes={QUOTA_BYTES}"]
        self.etcd = Etcd(authority.at if authority else None, options=options)
        self.primary = primary([ZONE])
        self.secondary = MovableBind([ZONE], primary=self.primary)

    @abstractmethod
    def reread(self) -> None:
        """Have the victim read its config anew."""

    async def start_servers(self) -> None:
        for server in (self.primary, self.secondary):
            self.stack.callback(server.remove)
            await asyncio.to_thread(server.start)
            self.stack.callback(server.stop)
        self.stack.callback(self.etcd.remove)
        if self.authority is not None:
            self.authority.issue("server", days=90)
            self.authority.issue("operator", days=90)
        await asyncio.to_thread(self.etcd.start)
        following = asyncio.create_task(self._follow())
        self.stack.callback(following.cancel)

    async def _follow(self) -> None:
        """Have the secondary ask for the zone all the while, as if it were notified."""
        while True:
            await asyncio.sleep(0.5)
            with contextlib.suppress(subprocess.SubprocessError):
                await asyncio.to_thread(self.secondary.rndc, "refresh", ZONE)

    def write_config(self, ident: str, http_port: int, *, store: str = "", server: str = "") -> Path:
        """Write an enactor's config and secret. `store`, `server`: its own way there, "host:port"."""
        secret = self.folder / f"{ident}.secret"
        secret.write_text(SECRET + "\n")
        secret.chmod(0o600)
        certificates = ""
        if self.authority is not None:
            self.authority.issue(ident, days=90)
            certificates = _CERTIFICATES.format(at=self.authority.at, id=ident)
        path = self.folder / f"{ident}.toml"
        path.write_text(
            _CONFIG.format(
                id=ident,
                scope=SCOPE,
                state=self.folder / ident,
                store=f"etcd://{store}" if store else self.etcd.url,
                certificates=certificates,
                zone=ZONE,
                server=server or f"127.0.0.1:{self.primary.port}",
                primary=self.primary.port,
                secondary=self.secondary.port,
                secret=secret,
                http=http_port,
            )
        )
        return path

    # -- hands

    async def ctl(self, *words: str, code: int | None = 0) -> Any:
        """Run a command beside the loop; returns its document. `code`: the exit code it must have; None: any."""
        arguments = ["--config", str(self.config), *words, "--json"]
        done = await asyncio.to_thread(_command, arguments)
        assert code is None or done.exit_code == code, done.output
        return json.loads(done.stdout) if done.exit_code == 0 and done.stdout else None

    async def publish(
        self, endpoints: Mapping[str, list[str]], *words: str, code: int | None = 0, ttl_s: int = 5
    ) -> None:
        document = plan(endpoints)
        for endpoint in document["endpoints"].values():
            endpoint["ttl_s"] = ttl_s
        path = self.folder / "plan.json"
        path.write_text(json.dumps(document))
        await self.ctl("publish", str(path), *words, code=code)

    async def publish_unjudged(self, endpoints: Mapping[str, list[str]]) -> None:
        """Publish past the publisher's own guards."""
        tls = self.authority.tls("publisher") if self.authority else None
        store = await open_store(self.etcd.url, tls=tls)
        try:
            plans = Plans(store, Keys(SCOPE), SystemClock(), zones=[ZONE])
            assert isinstance(await plans.publish(read_plan(plan(endpoints)), Orders()), Manifest)
        finally:
            await store.close()

    async def edit(self, change: Callable[[dns.update.UpdateMessage], None]) -> None:
        """Change the zone by the other key, as somebody else would."""
        keyring = dns.tsigkeyring.from_text({"foreign": FOREIGN_SECRET})
        update = dns.update.UpdateMessage(ZONE, keyring=keyring, keyalgorithm="hmac-sha256")
        change(update)
        answer = await dns.asyncquery.tcp(update, "127.0.0.1", timeout=5, port=self.primary.port)
        assert answer.rcode() == 0, answer

    async def fence(self, text: str) -> None:
        """Write another text in the place of the fence; "": none."""
        owner = f"_enactord.{ZONE}"
        if text:
            await self.edit(lambda update: update.replace(owner, 0, "TXT", f'"{text}"'))
        else:
            await self.edit(lambda update: update.delete(owner, "TXT"))

    async def etcdctl(self, *words: str, stdin: bytes | None = None) -> tuple[str, str]:
        """Run etcdctl as the store's operator; returns what it prints, and what it complains of."""
        where = ["--endpoints", self.etcd.endpoint]
        if self.authority is not None:
            at = self.authority.at
            where = ["--endpoints", f"https://{self.etcd.endpoint}", "--cacert", str(at / "ca.pem")]
            where += ["--cert", str(at / "operator.pem"), "--key", str(at / "operator.key")]
        process = await asyncio.create_subprocess_exec(
            "etcdctl",
            *where,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await process.communicate(stdin)
        return out.decode(), error.decode()


def _command(arguments: list[str]) -> Any:
    with _ONE_COMMAND:
        return CliRunner().invoke(ctl, arguments)
