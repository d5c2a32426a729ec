"""What the zone suite runs on: a zone on one server, its clients, and edits past the fence."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import dns.asyncquery
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.core.names import fence_name
from enactord.core.records import NO_RECORDS, Records
from enactord.ports import Clock, ZoneBackend
from enactord.wire.tsig import TsigKey
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer
from tests.servers.powerdns import PowerDns

T = TypeVar("T")
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

    def client(self) -> ZoneBackend: ...

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


class DnsSite:
    """A zone behind a port; edits past the fence go by dnspython and the key "foreign"."""

    records_max = 2500

    def __init__(self, zone: str, host: str, port: int) -> None:
        self.zone = zone
        self.host = host
        self.port = port
        self._zones: list[ZoneBackend] = []

    def client(
        self,
        *,
        secret: str = SECRET,
        key_name: str = "enactor",
        clock: Clock | None = None,
        zone: str | None = None,
        port: int | None = None,
    ) -> ZoneBackend:
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


class ProcessSite(DnsSite):
    """A zone of a child process, shared by many tests or a test's own."""

    @classmethod
    def alone(cls, zone: str, kind: type[DnsServer]) -> "ProcessSite":
        """Start a server for this zone."""
        server = kind([zone])
        server.start()
        return cls(zone, server, owned=True)

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


def tsig_key(name: str, secret: str) -> TsigKey:
    return TsigKey(name=name + ".", algorithm="hmac-sha256", secret=base64.b64decode(secret))


class Servers:
    """The servers that many tests share; each is started for the first that asks for it."""

    def __init__(self, zones: Sequence[str], stack: ExitStack) -> None:
        self._zones = zones
        self._stack = stack
        self._started: dict[object, Any] = {}

    def of(self, kind: type[DnsServer]) -> DnsServer:
        """Return the DNS server of a kind, with all zones."""
        return self.shared(kind, lambda: kind(self._zones))

    def shared(self, of: object, make: Callable[[], AbstractContextManager[T]]) -> T:
        """Return what is shared under this key."""
        if of not in self._started:
            self._started[of] = self._stack.enter_context(make())
        found: T = self._started[of]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of server that the suite runs on.

    `open` returns a zone that no test has touched; `own` a zone whose server is the test's alone, to stop or kill.
    `cuts`: what a zone may hold above names: delegations ("NS"), and "DNAME".
    """

    name: str
    open: Callable[[str, Servers], Awaitable[Site]]
    own: Callable[[str], Awaitable[Site]]
    cuts: frozenset[str] = frozenset()


def shared(kind: type[DnsServer]) -> Callable[[str, Servers], Awaitable[Site]]:
    """Return what opens a zone on the shared server of a kind."""

    async def opened(zone: str, servers: Servers) -> Site:
        return ProcessSite(zone, servers.of(kind))

    return opened


def alone(kind: type[DnsServer]) -> Callable[[str], Awaitable[Site]]:
    """Return what opens a zone on a server of its own."""

    async def opened(zone: str) -> Site:
        return ProcessSite.alone(zone, kind)

    return opened


def is_powerdns(site: Site) -> bool:
    """Whether a site's server is PowerDNS."""
    return isinstance(site, ProcessSite) and isinstance(site.server, PowerDns)
