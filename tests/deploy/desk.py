"""A config on disk that a test edits while an enactor runs by it."""

import asyncio
import json
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from enactord.cli.ctl import main as ctl
from enactord.clock import SystemClock
from enactord.config.reader import load_config
from enactord.config.tables import Config
from enactord.core.plan import Manifest, read_plan
from enactord.store.keys import Keys
from enactord.store.plans import Orders, Plans
from enactord.stores.by_url import open_store
from tests.deploy.process import Service
from tests.servers.dns_server import SECRET, free_port
from tests.servers.embedded import Embedded
from tests.tokens import bearer, write_tokens
from tests.world import SCOPE

CONFIG = """
[enactor]
id = "e1"
scope = "test"
state_dir = "state"
[store]
url = "sqlite://{folder}/store.db"
[[zone]]
name = "example.test."
backend = "rfc2136"
server = "127.0.0.1:{dns}"
tsig_name = "enactor"
tsig_secret_file = "tsig.secret"
timeout_s = 2.0
[guard]
allow_private = true
endpoints_removed_max_ratio = 0.2
scope_capacity_removed_max_ratio = 1.0
[http]
listen = "127.0.0.1:{http}"
tokens_file = "http.tokens"
[log]
level = "info"
format = "json"
"""


class Desk:
    """A config that a test edits, and the scope of it."""

    def __init__(self, folder: Path, server: Embedded) -> None:
        self.folder = folder
        self.server = server
        self.http = free_port()
        self.config = folder / "enactord.toml"
        self.config.write_text(CONFIG.format(folder=folder, dns=server.port, http=self.http))
        self.secret("tsig.secret", SECRET)
        self.tokens("first")

    def secret(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text + "\n")
        (self.folder / name).chmod(0o600)

    def tokens(self, name: str) -> None:
        """Let in an operator of this name, and nobody else."""
        write_tokens(self.folder / "http.tokens", **{name: "operator"})

    def edit(self, *changes: tuple[str, str]) -> None:
        text = self.config.read_text()
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.config.write_text(text)

    def load(self) -> Config:
        return load_config(self.config)

    async def publish(self, document: dict[str, Any]) -> None:
        """Publish past the guards of a plan as a whole, which the enactors judge for themselves."""
        store = await open_store(f"sqlite://{self.folder}/store.db")
        try:
            plans = Plans(store, Keys(SCOPE), SystemClock(), zones=["example.test."])
            done = await plans.publish(read_plan(document), Orders())
        finally:
            await store.close()
        assert isinstance(done, Manifest), done

    async def ctl(self, *words: str) -> str:
        """Run an operator's command; returns what it says."""
        done = await asyncio.to_thread(CliRunner().invoke, ctl, ["--config", str(self.config), *words])
        assert done.exit_code == 0, done.output
        return done.output

    def notes(self) -> str:
        """Return the notes of `/readyz`, joined."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=10) as answer:
            return "\n".join(json.load(answer)["notes"])

    def thaw(self, name: str) -> int:
        """Return the status of an order that does no harm, given with the token of a name."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/api/v1/thaw", method="POST", headers=bearer(name)
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code


async def reload(enactor: Service) -> None:
    """Ask for a reload and wait for its end, as the service manager sees it."""
    ready = enactor.notices.count("READY=1")
    enactor.signal(signal.SIGHUP)
    await enactor.until(lambda: enactor.notices.count("READY=1") > ready)
    assert enactor.notices.count("RELOADING=1") == ready
    await enactor.until(lambda: enactor.event("config.reloaded") or enactor.event("config.refused"))
