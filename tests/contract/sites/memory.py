"""The double in memory."""

from collections.abc import Sequence

from enactord.backends.memory import MemoryServer, MemoryZone
from enactord.core.records import NO_RECORDS, Reason, Records, Refused
from enactord.ports import ZoneBackend
from tests.contract.sites.base import Kind, Servers, Site
from tests.servers.choosy import FORBIDDEN


class MemorySite:
    """The double. It has no process: stopped or killed, it keeps what it acknowledged."""

    records_max = 2500

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self._server = MemoryServer(zone)

    @classmethod
    def refusing(cls, zone: str) -> "MemorySite":
        site = cls(zone)
        for label in FORBIDDEN:
            site._server.refuse(f"{label}.{zone}", Refused(reason=Reason.DENIED, detail="REFUSED", answer="REFUSED"))
        return site

    @classmethod
    def dropping(cls, zone: str) -> "MemorySite":
        site = cls(zone)
        for label in FORBIDDEN:
            site._server.drop(f"{label}.{zone}", "A", "AAAA")
        return site

    def client(self) -> ZoneBackend:
        return MemoryZone(self._server)

    async def put_foreign(self, name: str, *, records: Records = NO_RECORDS, cname: str | None = None) -> None:
        self._server.put_foreign(name, records=records, cname=cname)

    async def put_cut(self, owner: str, kind: str) -> None:
        self._server.put_cut(owner, kind)

    async def put_fence(self, texts: Sequence[Sequence[str]]) -> None:
        self._server.put_fence(
            tuple(b"".join(bytes((len(part),)) + part.encode() for part in parts) for parts in texts)
        )

    async def stop(self) -> None:
        self._server.up = False

    kill = stop

    async def start(self) -> None:
        self._server.up = True

    async def close(self) -> None:
        pass


async def _open(zone: str, servers: Servers) -> Site:
    return MemorySite(zone)


async def _own(zone: str) -> Site:
    return MemorySite(zone)


KINDS = (Kind(name="memory", open=_open, own=_own, cuts=frozenset({"NS", "DNAME"})),)
