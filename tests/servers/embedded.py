"""The embedded server in a process of its own, for tests that kill it.

Run as a program: `python -m tests.servers.embedded PORT STATE_DIR ZONE…`.
"""

import asyncio
import base64
import sys
from collections.abc import Sequence
from pathlib import Path

from enactord.dns_server import EmbeddedServer
from enactord.wire.tsig import TsigKey
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer

KEYS = [
    TsigKey(name=f"{name}.", algorithm="hmac-sha256", secret=base64.b64decode(secret))
    for name, secret in (("enactor", SECRET), ("foreign", FOREIGN_SECRET))
]


class Embedded(DnsServer):
    """The embedded server with a state directory."""

    program = sys.executable
    template = "named.conf"  # it needs none, and reads none

    def __init__(self, zones: Sequence[str]) -> None:
        super().__init__(zones)
        self.cwd = Path(__file__).parents[2]  # where Python finds the package and the tests

    def command(self, path: str) -> list[str]:
        return [path, "-m", "tests.servers.embedded", str(self.port), str(self.dir), *self.zones]

    def zone_stanza(self, zone: str) -> str:
        return ""


async def main(port: int, state_dir: Path, zones: list[str]) -> None:
    """Serve until killed."""
    server = EmbeddedServer(zones=zones, keys=KEYS, state_dir=state_dir)
    await server.start("127.0.0.1", port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
