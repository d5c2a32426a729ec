"""The embedded server: in the test's own loop, or as a process."""

from enactord.dns_server import EmbeddedServer
from tests.contract.sites.base import DnsSite, Kind, Servers, Site, alone
from tests.servers.embedded import KEYS, Embedded


class EmbeddedSite(DnsSite):
    """The embedded server in the test's own loop, without a state directory."""

    def __init__(self, zone: str, server: EmbeddedServer) -> None:
        super().__init__(zone, "127.0.0.1", server.port)
        self._server = server

    @classmethod
    async def open(cls, zone: str) -> "EmbeddedSite":
        server = EmbeddedServer(zones=[zone], keys=KEYS, state_dir=None)
        await server.start("127.0.0.1", 0)
        return cls(zone, server)

    async def close(self) -> None:
        await super().close()
        await self._server.close()


async def _open(zone: str, servers: Servers) -> Site:
    return await EmbeddedSite.open(zone)


KINDS = (Kind(name="embedded", open=_open, own=alone(Embedded)),)
