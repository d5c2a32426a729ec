"""A proxy that breaks one promise of the DNS server behind it. It has the zone's key, and signs what it alters."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import NamedTuple

from enactord.wire.names import HEADER_BYTES, read_fixed, read_name, skip_name
from enactord.wire.plain_update import ANY, IN, NONE, TYPE_ANY
from enactord.wire.stream import MaybeReceived, NeverSent, Stream
from enactord.wire.tsig import TsigError, TsigKey, find_tsig, sign, verify
from tests.contract.sites.base import FixedClock

_CLOCK = FixedClock()
_UPDATE = 5
_TIMEOUT_S = 20.0
_PLAIN_MAX = 2_000
"""A longer message is compressed, and is not taken apart."""
_A, _CNAME, _TXT = 1, 5, 16
_NOERROR, _FORMERR, _NXDOMAIN, _REFUSED, _YXRRSET, _NXRRSET, _NOTZONE = 0, 1, 3, 5, 7, 8, 10


class Part(NamedTuple):
    """One record as it stands in a message without compression."""

    raw: bytes
    name: bytes
    rtype: int
    rclass: int
    ttl_at: int
    """Where its TTL begins within `raw`."""


@dataclass(frozen=True)
class Parts:
    """An update, taken apart."""

    head: bytes
    """Id and flags."""
    zone: bytes
    """The zone section."""
    prerequisites: Sequence[Part]
    updates: Sequence[Part]

    @classmethod
    def of(cls, message: bytes) -> "Parts":
        counts = [int.from_bytes(message[at : at + 2], "big") for at in (6, 8)]
        position = start = skip_name(message, HEADER_BYTES) + 4
        sections: list[list[Part]] = []
        for count in counts:
            section = []
            for _ in range(count):
                begin = position
                name, fixed = read_name(message, position)
                rtype, rclass, _, _, position = read_fixed(message, fixed)
                section.append(Part(message[begin:position], name.lower(), rtype, rclass, fixed + 4 - begin))
            sections.append(section)
        return cls(message[:4], message[HEADER_BYTES:start], sections[0], sections[1])

    def wire(self) -> bytes:
        counts = (1, len(self.prerequisites), len(self.updates), 0)
        head = self.head + b"".join(count.to_bytes(2, "big") for count in counts)
        return b"".join((head, self.zone, *(part.raw for part in (*self.prerequisites, *self.updates))))


def rcode(message: bytes) -> int:
    return message[3] & 0xF


def bare(message: bytes) -> bytes:
    """Return a message without its signature."""
    record = find_tsig(message)
    if record is None:
        return message
    count = int.from_bytes(message[10:12], "big") - 1
    return message[:10] + count.to_bytes(2, "big") + message[12 : record.start]


class Liar:
    """Passes messages on to a server, and lets `lie` answer in its place. Use as a context manager."""

    def __init__(self, host: str, port: int, key: TsigKey, lie: "str | Lie") -> None:
        self.key = key
        self.cache: dict[bytes, tuple[float, bytes]] = {}
        if isinstance(lie, str):
            lie = LIES[lie] if lie in LIES else HALF_LIES[lie].lie
        self._lie = lie
        self._upstream = Stream(host, port, in_flight_max=1000, connections_max=4, spread_at=100, share_max_ratio=1.0)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> "Liar":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._upstream.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._tasks.add(serving)
        try:
            while True:
                message = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                task = asyncio.create_task(self._answer(message, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client or the test has ended
        finally:
            writer.close()
            self._tasks.discard(serving)

    async def _answer(self, message: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            reply = await self._lie(self, message)
        except (NeverSent, MaybeReceived):
            return
        if reply is not None and not writer.is_closing():
            writer.write(len(reply).to_bytes(2, "big") + reply)

    def mine(self, message: bytes) -> bool:
        """Whether it is an update that the key signed."""
        try:
            verify(message, [self.key], now_s=int(_CLOCK.now()))
        except TsigError:
            return False
        return is_update(message)

    async def pass_on(self, message: bytes) -> bytes:
        """Return the server's answer."""
        reply = await self._upstream.ask(lambda message_id: message_id.to_bytes(2, "big") + message[2:], _TIMEOUT_S)
        return message[:2] + reply[2:]

    async def pass_on_altered(self, message: bytes, altered: bytes) -> bytes:
        """Return the server's answer to another message, as if it were to this one."""
        signed, _ = sign(altered, self.key, now_s=int(_CLOCK.now()))
        return self.signed(bare(await self.pass_on(signed)), message)

    def signed(self, answer: bytes, message: bytes) -> bytes:
        """Sign an answer to a message."""
        record = find_tsig(message)
        mac = b"" if record is None else record.mac
        return sign(message[:2] + answer[2:], self.key, now_s=int(_CLOCK.now()), request_mac=mac)[0]

    def answered(self, message: bytes, code: int) -> bytes:
        """Return an answer to an update that the server never sees."""
        head = message[:2] + bytes((0x80 | _UPDATE << 3, code)) + b"\0\1" + bytes(6)
        end = skip_name(message, HEADER_BYTES) + 4
        return self.signed(head + message[HEADER_BYTES:end], message)


def is_update(message: bytes) -> bool:
    return message[2] >> 3 & 0xF == _UPDATE


Lie = Callable[[Liar, bytes], Awaitable[bytes | None]]


def _without(which: Callable[[Part], bool]) -> Lie:
    """Ignore some prerequisites."""

    async def lie(liar: Liar, message: bytes) -> bytes:
        if not liar.mine(message) or len(message) > _PLAIN_MAX:
            return await liar.pass_on(message)
        parts = Parts.of(message)
        kept = [part for part in parts.prerequisites if not which(part)]
        if len(kept) == len(parts.prerequisites):
            return await liar.pass_on(message)
        return await liar.pass_on_altered(message, replace(parts, prerequisites=kept).wire())

    return lie


async def _nothing(liar: Liar, message: bytes) -> bytes:
    return await liar.pass_on(message)


async def _not_applied(liar: Liar, message: bytes) -> bytes:
    """Acknowledge what the server never sees."""
    return liar.answered(message, _NOERROR) if liar.mine(message) else await liar.pass_on(message)


async def _two_winners(liar: Liar, message: bytes) -> bytes:
    """Let those through that come together with another: at one name, so that no other trial is lied to."""
    reply = await liar.pass_on(message)
    if liar.mine(message) and rcode(reply) == _NXRRSET and b"\4race" in message:
        return liar.answered(message, _NOERROR)
    return reply


async def _half(liar: Liar, message: bytes) -> bytes:
    """Apply the first half of what is refused by its content."""
    reply = await liar.pass_on(message)
    if liar.mine(message) and rcode(reply) == _NOTZONE:
        parts = Parts.of(message)
        zone = parts.zone[:-4].lower()
        half = [part for part in parts.updates[: len(parts.updates) // 2] if part.name.endswith(zone)]
        await liar.pass_on_altered(message, replace(parts, updates=half).wire())
    return reply


async def _silent(liar: Liar, message: bytes) -> bytes | None:
    """Lose some answers of many: those whose names begin so."""
    reply = await liar.pass_on(message)
    return None if is_update(message) and len(message) < _PLAIN_MAX and b"\7pipe-3" in message else reply


async def _capped(liar: Liar, message: bytes) -> bytes:
    """Keep no TTL above five minutes."""
    if not liar.mine(message) or len(message) > _PLAIN_MAX:
        return await liar.pass_on(message)
    parts = Parts.of(message)
    updates = []
    for part in parts.updates:
        at = part.ttl_at
        ttl_s = min(300, int.from_bytes(part.raw[at : at + 4], "big"))
        updates.append(part._replace(raw=part.raw[:at] + ttl_s.to_bytes(4, "big") + part.raw[at + 4 :]))
    return await liar.pass_on_altered(message, replace(parts, updates=updates).wire())


async def _late(liar: Liar, message: bytes) -> bytes:
    """Answer questions from a cache of 0.7 s."""
    if is_update(message):
        return await liar.pass_on(message)
    end = skip_name(message, HEADER_BYTES) + 4
    question, now = message[HEADER_BYTES:end], asyncio.get_running_loop().time()
    at, answer = liar.cache.get(question, (-1.0, b""))
    if now - at > 0.7:
        answer = bare(await liar.pass_on(message))
        liar.cache[question] = (now, answer)
    return liar.signed(answer, message)


async def _unsigned(liar: Liar, message: bytes) -> bytes:
    """Take the signature from errors."""
    reply = await liar.pass_on(message)
    return bare(reply) if liar.mine(message) and rcode(reply) else reply


async def _small(liar: Liar, message: bytes) -> bytes:
    """Refuse what is large."""
    if liar.mine(message) and len(message) > 16_000:
        return liar.answered(message, _FORMERR)
    return await liar.pass_on(message)


async def _open(liar: Liar, message: bytes) -> bytes:
    """Take updates from anybody."""
    if is_update(message) and find_tsig(message) is None:
        return bare(await liar.pass_on_altered(message, message))
    return await liar.pass_on(message)


async def _starred(liar: Liar, message: bytes) -> bytes:
    """Let prerequisites see what a wildcard answers."""
    if liar.mine(message) and len(message) < _PLAIN_MAX:
        required = Parts.of(message).prerequisites
        if any(part.rclass == NONE and part.name.startswith(b"\3own\4wild") for part in required):
            return liar.answered(message, _YXRRSET)
    return await liar.pass_on(message)


async def _hidden(liar: Liar, message: bytes) -> bytes:
    """Deny names that only have names below them."""
    reply = await liar.pass_on(message)
    if is_update(message) or b"\5above" not in message[: HEADER_BYTES + 6]:
        return reply
    plain = bytearray(bare(reply))
    plain[3] = plain[3] & 0xF0 | _NXDOMAIN
    return liar.signed(bytes(plain), message)


async def _swallowed(liar: Liar, message: bytes) -> bytes:
    """Drop names outside the zone in silence."""
    if not liar.mine(message) or len(message) > _PLAIN_MAX:
        return await liar.pass_on(message)
    parts = Parts.of(message)
    inside = [part for part in parts.updates if part.name.endswith(parts.zone[:-4].lower())]
    if len(inside) == len(parts.updates):
        return await liar.pass_on(message)
    return await liar.pass_on_altered(message, replace(parts, updates=inside).wire())


async def _caseless(liar: Liar, message: bytes) -> bytes:
    """Compare texts without their capitals."""
    if not liar.mine(message) or len(message) > _PLAIN_MAX:
        return await liar.pass_on(message)
    parts = Parts.of(message)
    required = [
        part._replace(raw=part.raw.replace(b"held=ann", b"held=Ann")) if part.rtype == _TXT else part
        for part in parts.prerequisites
    ]
    return await liar.pass_on_altered(message, replace(parts, prerequisites=required).wire())


async def _picky(liar: Liar, message: bytes) -> bytes:
    """Refuse to remove what is not there."""
    if liar.mine(message) and len(message) < _PLAIN_MAX:
        parts = Parts.of(message)
        if len(parts.updates) == 2 and all(part.rclass == ANY for part in parts.updates):
            return liar.answered(message, _NXRRSET)
    return await liar.pass_on(message)


LIES: Mapping[str, Lie] = {
    "": _nothing,
    "acknowledged": _not_applied,
    "key": _open,
    "exact": _without(lambda part: part.rclass == IN),
    "case": _caseless,
    "absent": _without(lambda part: part.rclass == NONE and part.rtype not in (TYPE_ANY, _CNAME)),
    "exists": _without(lambda part: part.rclass == ANY and part.rtype != TYPE_ANY),
    "in-use": _without(lambda part: part.rtype == TYPE_ANY),
    "wildcard": _starred,
    "cname": _without(lambda part: part.rclass == NONE and part.rtype == _CNAME),
    "race": _two_winners,
    "atomic": _half,
    "outside": _swallowed,
    "total": _picky,
    "size": _small,
    "pipelined": _silent,
    "ttl": _capped,
    "signed-errors": _unsigned,
    "reads": _late,
    "non-terminal": _hidden,
}
"""How a promise is broken, by the name of the property that a trial of conformance has for it; "": not at all."""


class HalfLie(NamedTuple):
    """Another way to break a promise, and what the trial of which property says of it."""

    lie: Lie
    name: str
    verdict: str


async def _applied_all_the_same(liar: Liar, message: bytes) -> bytes:
    """Answer NXRRSET, and apply the update: of an exact RRset."""
    reply = await liar.pass_on(message)
    if liar.mine(message) and rcode(reply) == _NXRRSET and b"exact-mark-" in message:
        await liar.pass_on_altered(message, replace(Parts.of(message), prerequisites=()).wire())
    return reply


async def _unsigned_and_applied(liar: Liar, message: bytes) -> bytes:
    """Answer an error to who has no key, and apply his update."""
    reply = await liar.pass_on(message)
    if is_update(message) and find_tsig(message) is None:
        await liar.pass_on_altered(message, message)
    return reply


async def _half_of_a_condition(liar: Liar, message: bytes) -> bytes:
    """Answer YXRRSET, and apply the first half."""
    reply = await liar.pass_on(message)
    if liar.mine(message) and rcode(reply) == _YXRRSET:
        parts = Parts.of(message)
        half = parts.updates[: len(parts.updates) // 2]
        await liar.pass_on_altered(message, replace(parts, prerequisites=(), updates=half).wire())
    return reply


def lost(which: bytes) -> Lie:
    """Lose the answers to updates that have some bytes in them."""

    async def lie(liar: Liar, message: bytes) -> bytes | None:
        reply = await liar.pass_on(message)
        return None if is_update(message) and len(message) < _PLAIN_MAX and which in message else reply

    return lie


async def _unprepared(liar: Liar, message: bytes) -> bytes | None:
    """Lose what a trial begins with, the answer and the update."""
    if liar.mine(message) and b"\5exact" in message:
        parts = Parts.of(message)
        if not parts.prerequisites and any(part.rclass == IN for part in parts.updates):
            return None
    return await liar.pass_on(message)


async def _never_refused(liar: Liar, message: bytes) -> bytes:
    """Answer NOERROR, signed, where the trial of signed errors is refused."""
    reply = await liar.pass_on(message)
    if liar.mine(message) and rcode(reply):
        parts = Parts.of(message)
        if b"\5error" in message or (not parts.prerequisites and len(parts.updates) == 1):
            return liar.answered(message, _NOERROR)
    return reply


async def _unwritten(liar: Liar, message: bytes) -> bytes:
    """Refuse a name below another one."""
    below = liar.mine(message) and len(message) < _PLAIN_MAX and b"\4deep\5above" in message
    if below and any(part.rclass == IN for part in Parts.of(message).updates):
        return liar.answered(message, _FORMERR)
    return await liar.pass_on(message)


async def kept(liar: Liar, message: bytes) -> bytes:
    """Refuse whatever removes a name."""
    if liar.mine(message) and b"\4kept" in message:
        return liar.answered(message, _REFUSED)
    return await liar.pass_on(message)


HALF_LIES: Mapping[str, HalfLie] = {
    "refused, and applied": HalfLie(_applied_all_the_same, "exact", "fail"),
    "without a key refused, and applied": HalfLie(_unsigned_and_applied, "key", "fail"),
    "a condition fails, and half is applied": HalfLie(_half_of_a_condition, "atomic", "fail"),
    "the answer to a prerequisite is lost": HalfLie(lost(b"\14exact-mark-0"), "exact", "unknown"),
    "the answer to a message of many is lost": HalfLie(lost(b"\6part-0"), "atomic", "unknown"),
    "the answer to a write is lost": HalfLie(lost(b"\5total"), "total", "unknown"),
    "what a trial begins with is lost": HalfLie(_unprepared, "exact", "unknown"),
    "nothing is refused": HalfLie(_never_refused, "signed-errors", "unknown"),
    "a name below another is refused": HalfLie(_unwritten, "non-terminal", "unknown"),
}
"""Ways to break a promise that a trial could miss, and servers that leave a trial without an end."""
