"""A primary that moves, with real servers and the shipped daemon: who copies and who is copied changes places."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rdatatype

from tests.servers.dns_server import SECRET, DnsServer, free_port
from tests.servers.secondaries import MovableBind, wait_copied
from tests.world import fleet, plan

ZONE = "example.test."
_LIMIT_S = 40.0


class Daemon:
    """One `enactord run` with its store in SQLite, whose config names two servers."""

    def __init__(self, folder: Path, *servers: DnsServer) -> None:
        self._folder = folder
        (folder / "key").write_text(SECRET + "\n")
        (folder / "key").chmod(0o600)
        self._config = folder / "enactord.toml"
        named = json.dumps([f"127.0.0.1:{server.port}" for server in servers])
        self._config.write_text(
            f'[enactor]\nid = "a"\nscope = "test"\nstate_dir = "{folder}/state"\n'
            f'[store]\nurl = "sqlite://{folder}/store.db"\nclaim_ttl_s = 3\n'
            f'[[zone]]\nname = "{ZONE}"\nbackend = "rfc2136"\nserver = {named}\ntsig_name = "enactor"\n'
            f'tsig_secret_file = "{folder}/key"\ntimeout_s = 1\n'
            "[guard]\nallow_private = true\nendpoints_replaced_max_ratio = 1\n[repair]\ninterval_s = 1\n"
            f'[http]\nlisten = "127.0.0.1:{free_port()}"\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with (self._folder / "log").open("ab") as log:
            words = ("-m", "enactord.cli.daemon", "run", "--config", str(self._config))
            process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)

    def ctl(self, *words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "enactord.cli.ctl", "--config", str(self._config), *words, "--json"],
            capture_output=True,
            env=os.environ,
            timeout=60,
        )
        return json.loads(done.stdout)

    def publish(self, number: int) -> None:
        path = self._folder / "plan.json"
        path.write_text(json.dumps(plan(fleet(20, number))))
        assert "generation" in self.ctl("publish", str(path))

    def said(self) -> str:
        return "; ".join(reason for enactor in self.ctl("status")["enactors"] for reason in enactor["degraded"])

    def zone(self) -> Any:
        return self.ctl("status")["zones"][0]

    def log(self) -> str:
        return (self._folder / "log").read_text()[-4000:]


def until(daemon: Daemon, condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, daemon.log()
        time.sleep(0.3)


def serves(server: DnsServer, number: int) -> bool:
    for name, wanted in fleet(20, number).items():
        question = dns.message.make_query(name, "A")
        answer = dns.query.tcp(question, server.host, timeout=5, port=server.port)
        found = {rdata.address for rrset in answer.answer for rdata in rrset if rdata.rdtype == dns.rdatatype.A}
        if found != set(wanted):
            return False
    return True


def test_two_servers_change_places_and_the_plans_follow(tmp_path: Path) -> None:
    """Planned, as an operator does it; in between the old primary is away, and nothing moves on its silence."""
    with MovableBind([ZONE]) as one, MovableBind([ZONE], one) as two:
        daemon = Daemon(tmp_path, one, two)
        first, second = (f"127.0.0.1:{server.port}" for server in (one, two))
        with daemon.running():
            daemon.publish(1)
            until(daemon, lambda: serves(one, 1))
            assert daemon.zone()["primary"] == first
            wait_copied(two, one, ZONE)
            one.stop()
            two.become(None)
            daemon.publish(2)
            until(daemon, lambda: first in daemon.said())
            assert daemon.zone()["primary"] == first, "silence is no word"
            one.start()
            one.become(two)
            until(daemon, lambda: serves(two, 2))
            until(daemon, lambda: daemon.zone()["applied"] == 2 and not daemon.said())
            assert daemon.zone()["primary"] == second
            assert daemon.ctl("verify")["findings"] == []
        assert '"event": "primary.chosen"' in (tmp_path / "log").read_text()
