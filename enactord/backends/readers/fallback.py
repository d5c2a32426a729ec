"""Asking one reader, and a second one for what the first got no answer for."""

from collections.abc import Mapping, Sequence

from enactord.core.errors import ZoneDown
from enactord.core.records import Served
from enactord.ports import ServedReader


class FallbackReader:
    """Implements `ServedReader` with two of them; both ask the same server.

    The first shares no code with the writer, and asks without a key. A server may leave such
    questions unanswered, or refuse them: then the second asks, signed.
    """

    def __init__(self, first: ServedReader, second: ServedReader) -> None:
        self._first = first
        self._second = second

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        try:
            served = await self._first.read(names)
        except ZoneDown:
            return await self._second.read(names)
        left = [name for name in names if name not in served]
        if not left:
            return served
        try:
            return {**served, **await self._second.read(left)}
        except ZoneDown:
            return served
