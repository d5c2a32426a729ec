"""A config on disk that a test spoils, and the doctor's report of it."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.config.reader import load_config
from enactord.core.fence import Fence
from enactord.core.kv import Item
from enactord.core.records import Committed, Transaction
from enactord.doctor import Check, Report, State, examine
from enactord.store.keys import Keys, installation_value
from enactord.stores.local_copy import SqliteLocalCopy
from enactord.wire.tsig import TsigKey
from tests.contract.sites.base import FixedClock
from tests.servers.dns_server import SECRET

ZONE = "example.test."
WRONG_SECRET = "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3I="


@dataclass
class Desk:
    """The config of one enactor; every key may be set before `examine`."""

    folder: Path
    store: str = ""
    scope: str = "test"
    servers: Sequence[int] = ()
    verify: Sequence[int] = ()
    zone: str = ZONE
    key_name: str = "enactor"
    secret: str = SECRET
    secret_mode: int = 0o600
    more: dict[str, str] = field(default_factory=dict)
    """More lines of a table, by its name."""

    @property
    def path(self) -> Path:
        return self.folder / "enactord.toml"

    def write(self) -> None:
        secret = self.folder / "tsig.secret"
        secret.write_text(self.secret)
        secret.chmod(self.secret_mode)
        store = self.store or f"sqlite://{self.folder}/store.db"
        lines = [
            *("[enactor]", 'id = "e1"', f'scope = "{self.scope}"'),
            self.more.get("enactor", f'state_dir = "{self.folder}/state"'),
            *("[store]", f'url = "{store}"', self.more.get("store", "")),
            *("[http]", self.more.get("http", "")),
            *("[guard]", self.more.get("guard", "")),
            "[[zone]]",
            f'name = "{self.zone}"',
        ]
        if self.servers:
            lines += [
                'backend = "rfc2136"',
                f"server = {[f'127.0.0.1:{port}' for port in self.servers]}",
                f"verify = {[f'127.0.0.1:{port}' for port in self.verify]}",
                f'tsig_name = "{self.key_name}"',
                'tsig_secret_file = "tsig.secret"',
                "verify_timeout_s = 1",
            ]
        else:
            lines.append('backend = "embedded"')
        self.path.write_text("\n".join(lines) + "\n")

    async def copied(self, installation: str) -> None:
        """Have a local copy that knows an installation."""
        state = self.folder / "state"
        state.mkdir(exist_ok=True)
        key, value = Keys(self.scope).installation, installation_value(installation)
        copy = SqliteLocalCopy(state)
        await copy.save({key: Item(key=key, value=value, create_revision=1, mod_revision=1, version=1)}, {}, None)
        await copy.close()

    async def examine(self, *, ahead_s: float = 0.0) -> Report:
        """Examine the config on a machine whose clock is so far ahead."""
        self.write()
        config = await asyncio.to_thread(load_config, self.path)
        async with asyncio.timeout(100):
            return await examine(config, clock=FixedClock(ahead_s=ahead_s))


def bad(report: Report) -> list[Check]:
    """Return the checks that are not well."""
    return [check for check in report.checks if check.state is not State.OK]


def fault(report: Report, group: str) -> Check:
    """Return the one check of a group that is a fault; it says what to do."""
    faults = [check for check in report.checks if check.state is State.FAULT and check.group == group]
    assert len(faults) == 1, report
    (found,) = faults
    assert found.fix
    return found


def warning(report: Report, group: str) -> Check:
    """Return the one check of a group that is a warning; it says what to do."""
    (found,) = [check for check in report.checks if check.state is State.WARNING and check.group == group]
    assert found.fix
    return found


async def raise_fence(port: int, fence: Fence, zone: str = ZONE) -> None:
    """Put a fence into a zone."""
    key = TsigKey(name="enactor.", algorithm="hmac-sha256", secret=base64.b64decode(SECRET))
    opened = Rfc2136Zone(zone, host="127.0.0.1", port=port, key=key, clock=FixedClock(), timeout_s=5.0)
    try:
        seen = await opened.read_fence()
        assert await opened.write(Transaction(fence_seen=seen, fence_after=fence)) == Committed()
    finally:
        await opened.close()
