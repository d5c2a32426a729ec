"""What a client saw of some names over time: asked all the while, from the outside, following aliases."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype

_PAUSE_S = 0.03
_ASK_LIMIT_S = 2.0


@dataclass(slots=True)
class Sight:
    """One name: how many seconds it was served stale or empty, and what it serves now.

    Stale: an older generation than one that was seen before.
    """

    newest: int = 0
    now: int | None = None
    stale_s: float = 0.0
    empty_s: float = 0.0
    at: float = 0.0


@dataclass
class Watch:
    """Asks for each name in turn; `generation_of` tells from its addresses which generation a name serves."""

    host: str
    port: int
    names: Sequence[str]
    generation_of: Callable[[frozenset[str]], int]
    sights: dict[str, Sight] = field(default_factory=dict)
    stale_s: float = 0.0
    """How long any of the names was stale, in seconds."""
    empty_s: float = 0.0
    """How long any of the names was empty, in seconds."""
    rounds: int = 0

    async def __aenter__(self) -> "Watch":
        self.sights = {name: Sight(at=time.perf_counter()) for name in self.names}
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def look(self, rounds: int = 2) -> None:
        """Wait until every name has been asked for again."""
        wanted = self.rounds + rounds
        while self.rounds < wanted:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(_PAUSE_S)

    def all_serve(self, generation: int) -> bool:
        """Whether every name served this generation when it was last asked for."""
        return all(sight.now == generation for sight in self.sights.values())

    async def _watch(self) -> None:
        before = time.perf_counter()
        while True:
            for name, sight in self.sights.items():
                addresses = await self._ask(name)
                if addresses is None:
                    continue
                now = time.perf_counter()
                self._note(sight, self.generation_of(addresses) if addresses else None, now)
            self.rounds += 1
            now = time.perf_counter()
            if any(sight.now is None and sight.newest for sight in self.sights.values()):
                self.empty_s += now - before
            if any(sight.now is not None and sight.now < sight.newest for sight in self.sights.values()):
                self.stale_s += now - before
            before = now
            await asyncio.sleep(_PAUSE_S)

    def _note(self, sight: Sight, generation: int | None, now: float) -> None:
        if sight.now is None and sight.newest:
            sight.empty_s += now - sight.at
        elif sight.now is not None and sight.now < sight.newest:
            sight.stale_s += now - sight.at
        sight.now, sight.at = generation, now
        sight.newest = max(sight.newest, generation or 0)

    async def _ask(self, name: str) -> frozenset[str] | None:
        """Return the addresses that a client gets, None where no answer came."""
        query = dns.message.make_query(name, "A", flags=0)
        try:
            reply = await dns.asyncquery.udp(query, self.host, _ASK_LIMIT_S, self.port)
        except (dns.exception.DNSException, OSError):
            return None
        return frozenset(
            rdata.to_text() for rrset in reply.answer if rrset.rdtype == dns.rdatatype.A for rdata in rrset
        )
