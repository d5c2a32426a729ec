"""A whole scope of real parts on loopback: etcd, Knot, three `enactord run`, and the Prometheus that scrapes them."""

import asyncio
import contextlib
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import dns.name
import dns.query
import dns.tsig
import dns.update
import pytest

from enactord.clock import SystemClock
from enactord.core.plan import Manifest, read_plan
from enactord.store.keys import Keys
from enactord.store.plans import Orders, Plans
from enactord.stores.by_url import open_store
from tests.chaos.children import program
from tests.observability.rules import RULES
from tests.servers.certificates import Authority
from tests.servers.dns_server import free_port
from tests.servers.etcd import Etcd
from tests.servers.knot import Knot
from tests.servers.prometheus import Prometheus
from tests.tokens import bearer, write_tokens
from tests.world import SCOPE, ZONE, fleet, plan

COUNT = 40
ENACTORS = ("a", "b", "c")
_LIMIT_S = 30.0
_DAYS = 90
"""How long certificates are good: beyond every alert."""
_CONFIG = """
[enactor]
id = "{name}"
scope = "{scope}"
state_dir = "{directory}/{name}"
[store]
url = "{store}"
ca_file = "authority/ca.pem"
cert_file = "authority/{name}.pem"
key_file = "authority/{name}.key"
timeout_s = 1
claim_ttl_s = 3
[[zone]]
name = "{zone}"
backend = "rfc2136"
server = "{host}:{port}"
tsig_name = "enactor"
tsig_secret_file = "tsig.secret"
timeout_s = 1
[guard]
allow_private = true
endpoints_replaced_max_ratio = 1.0
scope_capacity_removed_max_ratio = 1.0
velocity_window_s = 0
[prune]
keep_plans = 1
keep_s = 0
interval_s = 1
[repair]
interval_s = 1
[http]
listen = "127.0.0.1:{http_port}"
tokens_file = "tokens"
"""


class Site:
    """Runs while its context lasts; everything that it does to the scope is over when a method returns."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        self._ports = {name: free_port() for name in ENACTORS}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = contextlib.ExitStack()
        self.generation = 0

    def __enter__(self) -> "Site":
        with self._stack:
            self.authority = Authority(self._dir / "authority", days=_DAYS)
            for name in ("server", *ENACTORS):
                self.authority.issue(name, days=_DAYS)
            self.etcd = self._stack.enter_context(Etcd(self.authority.at))
            self.server = self._stack.enter_context(Knot([ZONE]))
            self._write_configs()
            for name in ENACTORS:
                self._stack.callback(self.kill, name)
                self.start(name)
            targets = [f"127.0.0.1:{port}" for port in self._ports.values()]
            self.prometheus = self._stack.enter_context(Prometheus(targets, scope=SCOPE, rules=[RULES]))
            self.until(lambda: all(self.answers(name) for name in ENACTORS))
            # Counters must have been seen at 0 before they rise.
            self.until(lambda: len(self.prometheus.query("enactord_build_info")) == len(ENACTORS))
            for generation in (1, 2, 3):
                self.publish(fleet(COUNT, generation))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # -- enactors

    def config(self, name: str) -> Path:
        return self._dir / f"{name}.toml"

    def start(self, name: str) -> None:
        with (self._dir / f"{name}.log").open("ab") as log:
            command = program("-m", "enactord.cli.daemon", "run", f"--config={self.config(name)}")
            self._processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()

    def reread(self, name: str) -> None:
        """Have an enactor read its config anew."""
        self._processes[name].send_signal(signal.SIGHUP)

    def answers(self, name: str) -> bool:
        with contextlib.suppress(OSError):
            self.get(name, "healthz")
            return True
        assert self._processes[name].poll() is None, (self._dir / f"{name}.log").read_text()
        return False

    def get(self, name: str, page: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[name]}/{page}", timeout=5) as answer:
            body: bytes = answer.read()
            return body

    def post(self, page: str, document: Mapping[str, Any]) -> None:
        """Tell the first enactor, as an operator does."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._ports[ENACTORS[0]]}/api/v1/{page}",
            data=json.dumps(document).encode(),
            headers=bearer("alice") | {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.status == 200

    # -- plans and records

    def publish(self, endpoints: Mapping[str, Sequence[str]], *, applied: bool = True) -> None:
        """Publish a plan, past all that a planner's side would refuse; wait until it is applied, unless told not to."""
        asyncio.run(self._publish(plan(endpoints)))
        if applied:
            self.until(lambda: json.loads(self.get("a", "api/v1/status"))["zones"][0]["applied"] == self.generation)

    async def _publish(self, document: Mapping[str, Any]) -> None:
        store = await open_store(self.etcd.url, tls=self.authority.tls("publisher"))
        try:
            published = await Plans(store, Keys(SCOPE), SystemClock(), zones=[ZONE]).publish(
                read_plan(document), Orders()
            )
        finally:
            await store.close()
        assert isinstance(published, Manifest), published
        self.generation = published.generation

    def remove(self, name: str) -> None:
        """Delete whatever stands at a name, with the key of somebody else."""
        keyring = {dns.name.from_text("foreign"): dns.tsig.Key("foreign", self.server.foreign_secret, "hmac-sha256")}
        update = dns.update.UpdateMessage(ZONE, keyring=keyring)
        update.delete(dns.name.from_text(name))
        assert dns.query.tcp(update, self.server.host, 5, self.server.port).rcode() == 0

    # -- waiting

    def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + _LIMIT_S
        while not condition():
            if time.monotonic() > deadline:
                logs = {name: (self._dir / f"{name}.log").read_text()[-1000:] for name in ENACTORS}
                pytest.fail(f"waited {_LIMIT_S:.0f} s in vain; the enactors said {logs}")
            time.sleep(0.1)

    def _write_configs(self) -> None:
        (self._dir / "tsig.secret").write_text(self.server.secret)
        (self._dir / "tsig.secret").chmod(0o600)
        write_tokens(self._dir / "tokens", alice="operator")
        for name, port in self._ports.items():
            self.config(name).write_text(
                _CONFIG.format(
                    name=name,
                    scope=SCOPE,
                    directory=self._dir,
                    store=self.etcd.url,
                    zone=ZONE,
                    host=self.server.host,
                    port=self.server.port,
                    http_port=port,
                )
            )


# -- what goes wrong; each is mended when its context ends


@contextlib.contextmanager
def frozen(site: Site) -> Iterator[None]:
    site.post("freeze", {"reason": "a drill"})
    yield
    site.post("thaw", {})


@contextlib.contextmanager
def emptied(site: Site) -> Iterator[None]:
    """While nothing may be repaired."""
    with frozen(site):
        site.remove(next(iter(fleet(1))))
        yield


@contextlib.contextmanager
def emptied_for_a_moment(site: Site) -> Iterator[None]:
    site.remove(next(iter(fleet(1))))
    yield


@contextlib.contextmanager
def fence_lost(site: Site) -> Iterator[None]:
    site.remove(f"_enactord.{ZONE}")
    yield


@contextlib.contextmanager
def held(site: Site) -> Iterator[None]:
    site.publish(fleet(COUNT, site.generation + 1) | {name: [] for name in fleet(1)})
    yield
    site.publish(fleet(COUNT, site.generation + 1))


@contextlib.contextmanager
def refused(site: Site) -> Iterator[None]:
    """Far fewer names than before."""
    site.publish(fleet(COUNT // 4, site.generation + 1), applied=False)
    yield
    site.publish(fleet(COUNT, site.generation + 1))


@contextlib.contextmanager
def config_refused(site: Site) -> Iterator[None]:
    """A key that does not exist."""
    with site.config("b").open("a", encoding="utf-8") as config:
        end = config.tell()
        config.write("\n[gaurd]\n")
    site.reread("b")
    yield
    with site.config("b").open("r+", encoding="utf-8") as config:
        config.truncate(end)
    site.reread("b")


@contextlib.contextmanager
def certificate_short_lived(site: Site) -> Iterator[None]:
    """Its next certificate lives for a day; the enactor takes it up by itself."""
    site.authority.issue("b", days=1)
    yield
    site.authority.issue("b", days=_DAYS)


@contextlib.contextmanager
def certificate_of_two_weeks(site: Site) -> Iterator[None]:
    site.authority.issue("b", days=10)
    yield
    site.authority.issue("b", days=_DAYS)


@contextlib.contextmanager
def enactor_killed(site: Site) -> Iterator[None]:
    site.kill("c")
    yield
    site.start("c")
    site.until(lambda: site.answers("c"))


@contextlib.contextmanager
def store_killed(site: Site) -> Iterator[None]:
    site.etcd.kill()
    yield
    site.etcd.start()


@contextlib.contextmanager
def server_killed(site: Site) -> Iterator[None]:
    site.server.kill()
    yield
    site.server.start()
