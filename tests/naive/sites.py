"""Where the naive enactor's tests run: a zone in memory, on Knot, on BIND; and a way to hold an enactor at a step."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import dns.asyncquery
import dns.message
import dns.rcode

from bench.naive.dns import DnsZone
from bench.naive.enactor import NaiveEnactor, Settings
from bench.naive.layout import alias_key
from bench.naive.memory import Answer, GivenPlans, MemoryServer, MemoryZone
from bench.naive.ports import Key, Outcome, Plan, Plans, Transaction, Zone, plan_of
from enactord.core.plan import read_plan
from tests.contract.sites.base import FixedClock, tsig_key
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer
from tests.world import plan


class Site(Protocol):
    """One zone; `dangling` is the rcode that it answers for an alias to nothing."""

    zone: str
    dangling: str

    def client(self, name: str) -> Zone: ...

    async def resolve(self, name: str) -> Answer:
        """Ask as a client would."""
        ...

    async def close(self) -> None: ...


class MemorySite:
    dangling = "NOERROR"

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.server = MemoryServer(zone)

    def client(self, name: str) -> Zone:
        return MemoryZone(self.server, name)

    async def resolve(self, name: str) -> Answer:
        return self.server.resolve(name)

    async def close(self) -> None:
        pass


class DnsSite:
    """Updates go by the key "foreign", which may write all types; transfers by "enactor"."""

    dangling = "NXDOMAIN"

    def __init__(self, zone: str, server: DnsServer) -> None:
        self.zone = zone
        self._server = server
        self._zones: list[DnsZone] = []

    def client(self, name: str) -> Zone:
        zone = DnsZone(
            self.zone,
            host=self._server.host,
            port=self._server.port,
            key=tsig_key("foreign", FOREIGN_SECRET),
            transfer_key=tsig_key("enactor", SECRET),
        )
        self._zones.append(zone)
        return zone

    async def resolve(self, name: str) -> Answer:
        found: set[str] = set()
        rcode = ""
        for rtype in ("A", "AAAA"):
            query = dns.message.make_query(name, rtype)
            reply = await dns.asyncquery.tcp(query, self._server.host, 5, self._server.port)
            rcode = dns.rcode.to_text(reply.rcode())
            found |= {
                rdata.to_text() for rrset in reply.answer if rrset.rdtype == query.question[0].rdtype for rdata in rrset
            }
        return Answer(rcode=rcode, addresses=tuple(sorted(found)))

    async def close(self) -> None:
        for zone in self._zones:
            await zone.close()


class Held:
    """A zone whose calls can be held right before one that a test names, and let go later."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._where: Callable[[object], bool] | None = None
        self._open = asyncio.Event()
        self.reached = asyncio.Event()
        self.asked: list[object] = []
        """The argument of every call so far."""
        self.outcomes: list[Outcome] = []

    def hold(self, where: Callable[[object], bool]) -> None:
        """Hold the next calls whose argument (the keys, the name or the transaction) this is true of."""
        self._where = where
        self._open.clear()
        self.reached.clear()

    def release(self) -> None:
        self._where = None
        self._open.set()

    @property
    def name(self) -> str:
        return self._zone.name

    async def read(self, keys: Sequence[Key]) -> Mapping[Key, tuple[str, ...]]:
        await self._gate(keys)
        return await self._zone.read(keys)

    async def names_below(self, name: str) -> Sequence[str]:
        await self._gate(name)
        return await self._zone.names_below(name)

    async def transact(self, transaction: Transaction) -> Outcome:
        await self._gate(transaction)
        outcome = await self._zone.transact(transaction)
        self.outcomes.append(outcome)
        return outcome

    async def _gate(self, argument: object) -> None:
        self.asked.append(argument)
        if self._where is not None and self._where(argument):
            self.reached.set()
            await self._open.wait()


def asks_for_lock(asked: object, name: str) -> bool:
    """Whether this is the read that goes before taking an endpoint's lock."""
    return isinstance(asked, list) and any(key.name.startswith(name.partition(".")[0] + "._lock.") for key in asked)


def flips(asked: object, name: str) -> bool:
    """Whether this transaction sets the live alias of an endpoint."""
    return isinstance(asked, Transaction) and any(rrset.key == alias_key(name) for rrset in asked.adds)


async def reached(held: Held, task: asyncio.Task[Any]) -> None:
    """Wait until the task comes to where it is held; if it ends before, that is an error."""
    waiting = asyncio.create_task(held.reached.wait())
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert held.reached.is_set(), f"the task was never held: {task.result()}"


def naive_plan(generation: int, *names: str) -> Plan:
    """A plan whose addresses tell its generation."""
    return plan_of(read_plan(plan({name: [f"10.{generation}.0.1"] for name in names})), generation)


def enactor(
    site: Site,
    holder: str,
    *,
    zone: Zone | None = None,
    plans: Plans | None = None,
    said: list[str] | None = None,
    ahead_s: float = 0.0,
    **settings: Any,
) -> NaiveEnactor:
    """An enactor of this zone; `settings` are those of `Settings`."""
    chosen = Settings(holder=holder, backoff_first_s=0.01, backoff_max_s=0.05, **settings)
    clock = FixedClock(ahead_s=ahead_s)
    say = (said if said is not None else []).append
    way = zone or site.client(holder)
    return NaiveEnactor(chosen, way, plans or GivenPlans(), clock=clock, rng=random.Random(holder), say=say)
