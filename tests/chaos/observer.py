"""The users' view: every name of a zone asked for, of the authoritative server itself, many times a second.

Pipelined over one TCP connection past every proxy, and read by dnspython: no line of
enactord's own has a part in it.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from itertools import count

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from tests.chaos.history import TYPES, Addresses, FenceRead, History, Read

_PAUSE_S = 0.1
_ANSWER_LIMIT_S = 3.0
_RETRY_S = 0.05
_KEEP_S = 1.0
_KNOWN_ANSWERS = 20_000

Parsed = tuple[str, Addresses]
"""Response code, and the addresses or texts of the type that was asked for."""


class Prober:
    """Asks one server for all names of one zone and for its fence, round after round.

    A round begins when every question of the one before is answered or given up, the
    fence first; so the fence of a round bounds what the round before can have shown.
    """

    def __init__(self, zone: str, host: str, port: int, names: Sequence[str], history: History) -> None:
        self._zone = zone
        self._peer = (host, port)
        self._history = history
        self._questions = [(f"_enactord.{zone}", "TXT")]
        self._questions += [(name, rtype) for name in names for rtype in TYPES]
        self._wires = [dns.message.make_query(name, rtype, id=0).to_wire() for name, rtype in self._questions]
        self._parsed: dict[tuple[int, bytes], Parsed] = {}
        self._kept: dict[int, Read] = {}
        self._ids = count()
        self.latest: dict[tuple[str, str], Read] = {}
        self.fence = ""
        self.asked = self.answered = self.failed = self.rounds = 0

    async def run(self) -> None:
        """Ask until cancelled; a server that is away is asked again and again."""
        while True:
            try:
                await self._converse()
            except (OSError, EOFError, TimeoutError):
                await asyncio.sleep(_RETRY_S)

    async def _converse(self) -> None:
        async with asyncio.timeout(_ANSWER_LIMIT_S):
            reader, writer = await asyncio.open_connection(*self._peer)
        try:
            while True:
                await self._round(reader, writer)
                self.rounds += 1
                await asyncio.sleep(_PAUSE_S)
        finally:
            writer.transport.abort()

    async def _round(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        waiting: dict[int, int] = {}
        pieces = []
        for index, wire in enumerate(self._wires):
            ident = next(self._ids) & 0xFFFF
            waiting[ident] = index
            pieces.append(struct.pack("!HH", len(wire), ident) + wire[2:])
        sent = loop.time()
        self.asked += len(waiting)
        writer.write(b"".join(pieces))
        async with asyncio.timeout(_ANSWER_LIMIT_S):
            while waiting:
                length, ident = struct.unpack("!HH", await reader.readexactly(4))
                rest = await reader.readexactly(length - 2)
                if (index := waiting.pop(ident, -1)) >= 0:
                    self._take(index, sent, loop.time(), rest)

    def _take(self, index: int, sent: float, received: float, rest: bytes) -> None:
        parsed = self._parse(index, rest)
        if parsed is None:
            self.failed += 1
            return
        self.answered += 1
        rcode, found = parsed
        name, rtype = self._questions[index]
        if rtype == "TXT":
            self.fence = " | ".join(sorted(found))
            self._history.fences.append(FenceRead(sent, received, self._zone, self.fence))
            return
        read = Read(sent, received, name, rtype, rcode, found)
        before = self.latest.get((name, rtype))
        self.latest[name, rtype] = read
        kept = self._kept.get(index)
        if kept is not None and before is not None and before[3:] == read[3:] and sent < kept.sent + _KEEP_S:
            return  # the same again: kept once a second, and once more before it changes
        if before is not None and before is not kept and before[3:] != read[3:]:
            self._history.reads.append(before)
        self._kept[index] = read
        self._history.reads.append(read)

    def _parse(self, index: int, rest: bytes) -> Parsed | None:
        """Read an answer, without its id; None where it says nothing with authority."""
        key = (index, rest)
        known = self._parsed.get(key)
        if known is not None:
            return known
        try:
            message = dns.message.from_wire(b"\0\0" + rest)
        except dns.exception.DNSException:
            return None
        if not message.flags & dns.flags.AA or message.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return None
        rtype = self._questions[index][1]
        wanted = dns.rdatatype.from_text(rtype)
        found = [rdata for rrset in message.answer if rrset.rdtype == wanted for rdata in rrset]
        if rtype == "TXT":
            texts = frozenset(b"".join(rdata.strings).decode("ascii", "replace") for rdata in found)
        else:
            texts = frozenset(rdata.address for rdata in found)
        parsed = (dns.rcode.to_text(message.rcode()), texts)
        if len(self._parsed) >= _KNOWN_ANSWERS:
            self._parsed.clear()
        self._parsed[key] = parsed
        return parsed

    async def next_round(self, count: int = 1) -> None:
        """Wait until everything has been asked anew, so many times."""
        wanted = self.rounds + count + 1
        while self.rounds < wanted:
            await asyncio.sleep(_PAUSE_S / 4)


@contextlib.asynccontextmanager
async def probing(probers: Sequence[Prober]) -> AsyncIterator[None]:
    """Let probers ask while the context lasts."""
    tasks = [asyncio.create_task(prober.run(), name="prober") for prober in probers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
