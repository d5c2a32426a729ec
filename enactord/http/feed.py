"""The feed: the latest news of a scope and of this enactor, numbered, kept in a ring that all clients share."""

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from enactord.core.events import EndpointRepaired, Event
from enactord.operations.news import Glance, News, compare, glance, witness
from enactord.store.cache import Cache
from enactord.telemetry.failures import Failures

KEPT = 1000
REPAIRS_KEPT = 20
_PACE_S = 0.2
"""Changes of so long are told together: a person reads no faster."""
_LEDGER_SHARE = 0.02
"""Most of the time that looking for holds may take: while a plan goes in, there is all that others wrote to unpack."""
_IDLE_S = 2.0
_AFTER_FAILURE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One piece of news, as it goes over the wire."""

    number: int
    frame: bytes


class Feed:
    """Hears an enactor and watches its cache. Numbers rise by one; `run_id` tells one process from the next."""

    def __init__(self, now: Callable[[], float], *, kept: int = KEPT, failures: Failures | None = None) -> None:
        self.run_id = secrets.token_hex(4)
        self.turn = 0
        """Rises with each change that may show in the state."""
        self.closed = False
        self.now = now
        self._ring: deque[Told] = deque(maxlen=kept)
        self._repairs: deque[News] = deque(maxlen=REPAIRS_KEPT)
        self._newest = 0
        self._failures = failures or Failures()
        self._stirred = asyncio.Event()
        self._turned = asyncio.Event()

    # -- what comes in

    def observe(self, event: Event) -> None:
        """Take in what the enactor did or saw."""
        said = witness(event)
        if said is not None:
            self.tell(said)
            if isinstance(event, EndpointRepaired):
                self._repairs.appendleft(said | {"at": self.now()})

    def tell(self, said: News) -> None:
        """Number a piece of news and keep it."""
        self._newest += 1
        number = self._newest
        body = {"id": self.id_of(number), "at": round(self.now(), 3)} | said
        self._ring.append(Told(number=number, frame=frame("news", body, self.id_of(number))))
        self.stir()

    def stir(self) -> None:
        """Have the next turn come soon."""
        self._stirred.set()

    async def follow(self, cache: Cache) -> None:
        """Tell what changes in a cache, until cancelled. What it shows first is no news.

        After a failure it begins anew: what changed meanwhile is in the state, and is no news.
        """
        cache.on_change = self.stir
        while True:
            with self._failures.caught("feed"):
                await self._follow(cache)
            self._turn()
            await asyncio.sleep(_AFTER_FAILURE_S)

    async def _follow(self, cache: Cache) -> None:
        before: Glance | None = None
        ledger_at = 0.0
        while True:
            try:
                async with asyncio.timeout(_IDLE_S):
                    await self._stirred.wait()
            except TimeoutError:
                pass  # what is told of no event (why a pass did not finish) shows all the same
            self._stirred.clear()
            start = time.perf_counter()
            if cache.loaded or before is not None:
                ledger = start >= ledger_at
                after = glance(cache, before, ledger=ledger)
                if ledger:
                    now = time.perf_counter()
                    ledger_at = now + (now - start) / _LEDGER_SHARE
                for said in compare(before, after, cache) if before is not None else ():
                    self.tell(said)
                before = after
                self._stirred.clear()
            self._turn()
            await asyncio.sleep(_PACE_S)

    def close(self) -> None:
        """Have every client's stream end."""
        self.closed = True
        self._turn()

    def _turn(self) -> None:
        self.turn += 1
        self._turned.set()
        self._turned = asyncio.Event()

    # -- what goes out

    @property
    def newest(self) -> int:
        """The number of the latest news; 0 before the first."""
        return self._newest

    @property
    def repairs(self) -> list[News]:
        """The latest names that this enactor put back, newest first."""
        return list(self._repairs)

    def id_of(self, number: int) -> str:
        return f"{self.run_id}-{number}"

    def number_of(self, event_id: str) -> int | None:
        """Return the number of an id that this process gave; None for any other text."""
        run_id, _, number = event_id.partition("-")
        if run_id != self.run_id or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        return int(number) if int(number) <= self._newest else None

    def after(self, number: int, limit: int) -> tuple[Sequence[Told], bool]:
        """Return the news after a number, oldest first, and whether some before them are kept no more."""
        if not self._ring or number >= self._newest:
            return (), False
        oldest = self._ring[0].number
        start = max(0, number + 1 - oldest)
        found = [self._ring[i] for i in range(start, min(start + limit, len(self._ring)))]
        return found, number + 1 < oldest

    async def wait_turn(self, timeout_s: float) -> None:
        """Return at the next turn, or when the time is over."""
        turned = self._turned
        try:
            async with asyncio.timeout(timeout_s):
                await turned.wait()
        except TimeoutError:
            pass


def frame(event: str, body: Any, event_id: str = "") -> bytes:
    """Return one message of a stream. Source: HTML, 9.2.6 Interpreting an event stream."""
    text = json.dumps(body, separators=(",", ":"))  # ASCII, so without any line end that could part the message
    return f"event: {event}\n{f'id: {event_id}' + chr(10) if event_id else ''}data: {text}\n\n".encode("ascii")
