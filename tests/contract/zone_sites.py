"""Where the zone suite runs: for each kind of server its clients, and edits past the fence."""

import asyncio
import base64
import time
from collections.abc import Sequence
from typing import Protocol

import dns.asyncquery
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from enactord.backends.memory import MemoryServer, MemoryZone
from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.core.names import fence_name
from enactord.core.records import NO_RECORDS, Reason, Records, Refused
from enactord.dns_server import EmbeddedServer
from enactord.ports import Clock, Zone
from enactord.wire.tsig import TsigKey
from tests.servers.bind import Bind
from tests.servers.choosy import FORBIDDEN
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer
from tests.servers.embedded import KEYS, Embedded
from tests.servers.knot import Knot
from tests.servers.powerdns import PowerDns

_TIMEOUT_S = 5.0


class FixedClock:
    """The real time, or off by a fixed amount."""

    def __init__(self, *, ahead_s: float = 0.0) -> None:
        self._ahead_s = ahead_s

    def now(self) -> float:
        return time.time() + self._ahead_s


class Site(Protocol):
    """One zone on one server."""

    zone: str
    records_max: int
    """Most addresses of one transaction, at least 100."""

    def client(self) -> Zone: ...

    async def put_foreign(self, name: str, *, records: Records = NO_RECORDS, cname: str | None = None) -> None:
        """Make a name hold exactly this, past the fence."""
        ...

    async def put_cut(self, owner: str, kind: str) -> None:
        """Put a delegation ("NS") or a "DNAME" at a name; "" removes both. Over DNS and in memory alone."""
        ...

    async def put_fence(self, texts: Sequence[Sequence[str]]) -> None:
        """Put TXT records, each of some strings, at the fence's name."""
        ...

    async def stop(self) -> None: ...

    async def kill(self) -> None: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


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

    def client(self) -> Zone:
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


class DnsSite:
    """A zone behind a port; edits past the fence go by dnspython and the key "foreign"."""

    records_max = 2500

    def __init__(self, zone: str, host: str, port: int) -> None:
        self.zone = zone
        self.host = host
        self.port = port
        self._zones: list[Zone] = []

    def client(
        self,
        *,
        secret: str = SECRET,
        key_name: str = "enactor",
        clock: Clock | None = None,
        zone: str | None = None,
        port: int | None = None,
    ) -> Zone:
        opened = Rfc2136Zone(
            zone or self.zone,
            host=self.host,
            port=port or self.port,
            key=tsig_key(key_name, secret),
            clock=clock or FixedClock(),
            timeout_s=_TIMEOUT_S,
        )
        self._zones.append(opened)
        return opened

    async def put_foreign(self, name: str, *, records: Records = NO_RECORDS, cname: str | None = None) -> None:
        update = dns.update.UpdateMessage(self.zone)
        owner = dns.name.from_text(name)
        for rtype in ("A", "AAAA", "CNAME"):
            update.delete(owner, rtype)
        if cname is not None:
            update.add(owner, 30, "CNAME", cname)
        for text in records.texts():
            update.add(owner, records.ttl_s, "AAAA" if ":" in text else "A", text)
        await self._edit(update)

    async def put_cut(self, owner: str, kind: str) -> None:
        update = dns.update.UpdateMessage(self.zone)
        for rtype in ("NS", "DNAME"):
            update.delete(dns.name.from_text(owner), rtype)
        if kind:
            update.add(dns.name.from_text(owner), 30, kind, "elsewhere.test.")
        await self._edit(update)

    async def put_fence(self, texts: Sequence[Sequence[str]]) -> None:
        update = dns.update.UpdateMessage(self.zone)
        name = dns.name.from_text(fence_name(self.zone))
        update.delete(name, "TXT")
        for parts in texts:
            update.add(name, 0, "TXT", " ".join(f'"{part}"' for part in parts))
        await self._edit(update)

    async def put_ttl(self, name: str, rtype: str, ttl_s: int) -> None:
        """Give one RRset of a name another TTL."""
        answer = await dns.asyncquery.tcp(dns.message.make_query(name, rtype), self.host, _TIMEOUT_S, self.port)
        update = dns.update.UpdateMessage(self.zone)
        update.replace(dns.name.from_text(name), ttl_s, *answer.answer[0])
        await self._edit(update)

    async def serial(self) -> int:
        """The serial of the zone's SOA record."""
        query = dns.message.make_query(self.zone, "SOA")
        answer = await dns.asyncquery.tcp(query, self.host, _TIMEOUT_S, self.port)
        return int(answer.answer[0][0].serial)

    async def put_txt(self, name: str, text: str) -> None:
        update = dns.update.UpdateMessage(self.zone)
        update.add(dns.name.from_text(name), 30, "TXT", f'"{text}"')
        await self._edit(update)

    async def put_wildcard_txt(self, text: str) -> None:
        await self.put_txt(f"*.{self.zone}", text)

    async def txt_at(self, name: str) -> list[str]:
        query = dns.message.make_query(name, "TXT")
        answer = await dns.asyncquery.tcp(query, self.host, _TIMEOUT_S, self.port)
        return [rdata.to_text().strip('"') for rrset in answer.answer for rdata in rrset]

    async def close(self) -> None:
        for zone in self._zones:
            await zone.close()

    async def stop(self) -> None:
        raise NotImplementedError

    async def kill(self) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        raise NotImplementedError

    async def _edit(self, update: dns.update.UpdateMessage) -> None:
        update.use_tsig(dns.tsig.Key("foreign.", base64.b64decode(FOREIGN_SECRET), dns.tsig.HMAC_SHA256))
        answer = await dns.asyncquery.tcp(update, self.host, _TIMEOUT_S, self.port)
        assert answer.rcode() == dns.rcode.NOERROR, dns.rcode.to_text(answer.rcode())


class _ProcessSite(DnsSite):
    """A zone of a child process, shared by many tests or a test's own."""

    def __init__(self, zone: str, server: DnsServer, *, owned: bool = False) -> None:
        super().__init__(zone, server.host, server.port)
        self.server = server
        self._owned = owned

    async def stop(self) -> None:
        assert self._owned
        await asyncio.to_thread(self.server.stop)

    async def kill(self) -> None:
        assert self._owned
        self.server.kill()  # in this very step: a thread would let the answers come in first

    async def start(self) -> None:
        assert self._owned
        await asyncio.to_thread(self.server.start)

    async def close(self) -> None:
        await super().close()
        if self._owned:
            await asyncio.to_thread(self.server.remove)


class OwnSite(_ProcessSite):
    """A zone of a server that is this site's alone."""

    @classmethod
    def open(cls, zone: str, kind: type[DnsServer]) -> "OwnSite":
        server = kind([zone])
        server.start()
        return cls(zone, server, owned=True)


class BindSite(_ProcessSite):
    @classmethod
    def own(cls, zone: str) -> "BindSite":
        server = Bind([zone])
        server.start()
        return cls(zone, server, owned=True)


class KnotSite(_ProcessSite):
    @classmethod
    def own(cls, zone: str) -> "KnotSite":
        server = Knot([zone])
        server.start()
        return cls(zone, server, owned=True)


class PowerDnsSite(_ProcessSite):
    @classmethod
    def own(cls, zone: str) -> "PowerDnsSite":
        server = PowerDns([zone])
        server.start()
        return cls(zone, server, owned=True)


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


class EmbeddedProcessSite(_ProcessSite):
    @classmethod
    def own(cls, zone: str) -> "EmbeddedProcessSite":
        server = Embedded([zone])
        server.start()
        return cls(zone, server, owned=True)


def tsig_key(name: str, secret: str) -> TsigKey:
    return TsigKey(name=name + ".", algorithm="hmac-sha256", secret=base64.b64decode(secret))
