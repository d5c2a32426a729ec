"""Asks the authoritative server all the time, and remembers what it answered: the users' view."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from enactord.backends.readers.bulk import BulkReader
from enactord.core.errors import ZoneDown


@dataclass(frozen=True)
class Answer:
    """What one question for one name was answered."""

    name: str
    addresses: frozenset[str]


@dataclass
class Watcher:
    """Asks for all names in turn, without pause, over a connection of its own."""

    host: str
    port: int
    names: Sequence[str]
    history: list[Answer] = field(default_factory=list)
    rounds: int = 0

    async def __aenter__(self) -> "Watcher":
        self._reader = BulkReader(self.host, self.port, timeout_s=2, connections=1)
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._reader.close()

    async def _watch(self) -> None:
        last: dict[str, frozenset[str]] = {}
        while True:
            try:
                served = await self._reader.read(self.names)
            except ZoneDown:
                await asyncio.sleep(0.05)
                continue
            for name, answer in served.items():
                addresses = frozenset(answer.records.texts())
                if last.get(name) != addresses:
                    last[name] = addresses
                    self.history.append(Answer(name=name, addresses=addresses))
            self.rounds += 1
            await asyncio.sleep(0.02)  # it shares the machine with what it watches

    async def look(self, rounds: int = 2) -> None:
        """Wait until everything has been asked again."""
        wanted = self.rounds + rounds
        while self.rounds < wanted:
            await asyncio.sleep(0.005)

    def went_back(self, order: Mapping[frozenset[str], int]) -> list[Answer]:
        """Answers that are older than one seen before for the same name (I1). `order`: addresses to generation."""
        newest: dict[str, int] = {}
        found = []
        for answer in self.history:
            generation = order.get(answer.addresses)
            if generation is None:
                continue
            if generation < newest.get(answer.name, 0):
                found.append(answer)
            newest[answer.name] = max(generation, newest.get(answer.name, 0))
        return found

    def emptied(self) -> list[Answer]:
        """Answers that were empty after one that was not (I2)."""
        seen: set[str] = set()
        found = []
        for answer in self.history:
            if answer.addresses:
                seen.add(answer.name)
            elif answer.name in seen:
                found.append(answer)
        return found
