"""A zone in memory for the naive enactor: its transactions, and what a client would see."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.naive.layout import address_keys
from bench.naive.ports import Key, Outcome, Plan, Rrset, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client gets for a name: an rcode, and the addresses, sorted as text."""

    rcode: str
    addresses: tuple[str, ...]


class MemoryServer:
    """The state of one zone; each enactor reaches it through a `MemoryZone` of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.committed: Callable[[str, Transaction], None] = lambda client, transaction: None
        """Called with the client and the transaction, right before it takes effect."""
        self._rrsets: dict[Key, Rrset] = {}

    def values(self, key: Key) -> tuple[str, ...]:
        rrset = self._rrsets.get(key)
        return rrset.values if rrset else ()

    def names(self) -> list[str]:
        """Return all names that have records, sorted."""
        return sorted({key.name for key in self._rrsets})

    def resolve(self, name: str) -> Answer:
        """Answer for addresses as Route 53 does: an alias to nothing is NOERROR with no records."""
        at = next(iter(self.values(Key(name, "CNAME"))), name)
        addresses = tuple(sorted(value for key in address_keys(at) for value in self.values(key)))
        here = any(known == name or known.endswith("." + name) for known in self.names())
        return Answer(rcode="NOERROR" if here else "NXDOMAIN", addresses=addresses)

    def apply(self, client: str, transaction: Transaction) -> Outcome:
        """Carry out a transaction. Names in use are looked at before values, as RFC 2136 section 3.2.5 has it."""
        names = {key.name for key in self._rrsets}
        if not names.issuperset(transaction.in_use):
            return Outcome.GONE
        if any(self.values(key) != tuple(sorted(values)) for key, values in transaction.exactly.items()):
            return Outcome.CHANGED
        self.committed(client, transaction)
        for key in transaction.deletes:
            self._rrsets.pop(key, None)
        for rrset in transaction.adds:
            self._add(rrset)
        return Outcome.DONE

    def _add(self, rrset: Rrset) -> None:
        """Add records; a CNAME beside other records, or they beside it, is left out in silence, as servers do.

        Source: RFC 2136 section 3.4.2.2.
        """
        beside = {key.rtype for key in self._rrsets if key.name == rrset.key.name} - {rrset.key.rtype}
        if "CNAME" in beside or (rrset.key.rtype == "CNAME" and beside):
            return
        old = () if rrset.key.rtype == "CNAME" else self.values(rrset.key)
        values = tuple(sorted({*old, *rrset.values}))
        self._rrsets[rrset.key] = Rrset(key=rrset.key, ttl_s=rrset.ttl_s, values=values)


class MemoryZone:
    """One enactor's way to a `MemoryServer`; implements `Zone`. Each call lets others go first."""

    def __init__(self, server: MemoryServer, client: str) -> None:
        self._server = server
        self._client = client

    @property
    def name(self) -> str:
        return self._server.name

    async def read(self, keys: Sequence[Key]) -> Mapping[Key, tuple[str, ...]]:
        await asyncio.sleep(0)
        return {key: self._server.values(key) for key in keys}

    async def names_below(self, name: str) -> Sequence[str]:
        await asyncio.sleep(0)
        return [known for known in self._server.names() if known.endswith("." + name)]

    async def transact(self, transaction: Transaction) -> Outcome:
        await asyncio.sleep(0)
        return self._server.apply(self._client, transaction)


class GivenPlans:
    """Plans that somebody hands over; implements `Plans`."""

    def __init__(self) -> None:
        self._newest: Plan | None = None

    def publish(self, plan: Plan) -> None:
        assert self._newest is None or plan.generation > self._newest.generation, plan.generation
        self._newest = plan

    async def newest(self) -> Plan | None:
        return self._newest
