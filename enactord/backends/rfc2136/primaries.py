"""One zone on several servers, of which one is its primary at a time: implements `Zone` and `Primaries`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.core.errors import ZoneDown
from enactord.core.fence import FenceSeen
from enactord.core.records import Committed, Outcome, Reason, Refused, Served, Transaction
from enactord.ports import Duty, Said, ServedReader
from enactord.wire.tsig import TsigKey

FRESH_COPY_S = 1.1
"""A secondary that has just copied the zone has all of its time left, as a primary always has; a second later not."""


class SeveralServers:
    """Asks the server of the moment; a write goes to the server that it is for."""

    def __init__(self, servers: Mapping[str, Rfc2136Zone]) -> None:
        """`servers`: by name, in the order in which they are tried."""
        assert servers
        self._servers = dict(servers)
        self._chosen: Callable[[], str] = lambda: ""
        self._first = ""

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._servers)

    @property
    def current(self) -> str:
        chosen = self._chosen()
        return chosen if chosen in self._servers else self._first or next(iter(self._servers))

    @property
    def decided(self) -> bool:
        return bool(self._first) or self._chosen() in self._servers

    def go_by(self, chosen: Callable[[], str], first: str = "") -> None:
        self._chosen = chosen
        self._first = first

    def of(self, name: str) -> Rfc2136Zone:
        """Return the zone as one server has it."""
        return self._servers[name]

    @property
    def key(self) -> TsigKey:
        """Signs what is written and asked from now on, whichever server it is for."""
        return self._servers[self.current].key

    @key.setter
    def key(self, key: TsigKey) -> None:
        for server in self._servers.values():
            server.key = key

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        return await self._servers[self.current].read(names)

    async def read_fence(self) -> FenceSeen:
        return await self._servers[self.current].read_fence()

    async def negative_ttl_s(self) -> int | None:
        return await self._servers[self.current].negative_ttl_s()

    async def write(self, transaction: Transaction) -> Outcome:
        name = transaction.primary or self.current
        if name not in self._servers:
            return Refused(reason=Reason.BUSY, detail=f"{name} is none of the servers of this config")
        return await self._servers[name].write(transaction)

    async def duty(self, name: str) -> Said:
        return await self._servers[name].duty()

    async def takes_over(self, name: str) -> Said:
        server = self._servers[name]
        said = await server.duty()
        if said.duty is Duty.PRIMARY:
            await asyncio.sleep(FRESH_COPY_S)
            said = await server.duty()
        if said.duty is Duty.OTHER:
            return said
        try:
            outcome = await server.write(Transaction(fence_seen=await server.read_fence()))
        except ZoneDown as error:
            return Said(duty=Duty.UNKNOWN, detail=str(error))
        match outcome:
            case Committed() | Refused(reason=Reason.CONDITION):
                return replace(said, takes=True)
            case _:
                return Said(duty=Duty.UNKNOWN, detail=outcome.detail)

    async def find(self) -> tuple[str, Mapping[str, Said]]:
        said: dict[str, Said] = {}
        for name in self.names:
            word = said[name] = await self.takes_over(name)
            if word.takes and word.duty is Duty.PRIMARY:
                return name, said
        return next((name for name, word in said.items() if word.takes), ""), said

    async def settle(self, chosen: str) -> None:
        """Go by this server for good; where it is none of these, by the one that is found."""
        found = "" if chosen in self._servers else (await self.find())[0]
        self.go_by(lambda: chosen, found)

    async def close(self) -> None:
        for server in self._servers.values():
            await server.close()


class CurrentReader:
    """Asks the server of the moment by a reader of its own."""

    def __init__(self, servers: SeveralServers, readers: Mapping[str, ServedReader]) -> None:
        self._servers = servers
        self._readers = readers

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        return await self._readers[self._servers.current].read(names)
