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
from enactord.daemon.config import Config, load_config
from tests.deploy.process import Service
from tests.servers.dns_server import SECRET, free_port
from tests.servers.embedded import Embedded

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
[http]
listen = "127.0.0.1:{http}"
token_file = "http.token"
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
        self.secret("http.token", "first")

    def secret(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text + "\n")
        (self.folder / name).chmod(0o600)

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
        path = self.folder / "plan.json"
        path.write_text(json.dumps(document))
        config = self.folder / "planner.toml"
        text = self.config.read_text().replace("max_ratio = 0.2", "max_ratio = 1")
        config.write_text(text.replace('tsig_secret_file = "tsig.secret"\n', ""))  # a planner has no key
        arguments = ["--config", str(config), "publish", str(path)]
        done = await asyncio.to_thread(CliRunner().invoke, ctl, arguments)
        assert done.exit_code == 0, done.output

    def thaw(self, token: str) -> int:
        """Return the status of an order that does no harm."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/api/v1/thaw", method="POST", headers={"Authorization": f"Bearer {token}"}
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
