"""One server under trial: any update sent to it, with or without a signature, and what it then answers."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from enactord.backends.readers.bulk import BulkReader, Signing
from enactord.backends.rfc2136.denials import RCODE_TEXTS
from enactord.ports import Clock
from enactord.wire.answer import TYPE_A, TYPE_AAAA, TYPE_CNAME, TYPE_TXT, Answer
from enactord.wire.plain_update import Record, add, delete, pack_plain, text
from enactord.wire.stream import MaybeReceived, NeverSent, Stream
from enactord.wire.tsig import TsigError, TsigKey, sign, verify

LABEL = "enactord-conformance"
"""Just below the zone; every name that is written lies below it, and at it stands who works there.

Without an underscore: BIND refuses addresses at a name that has one (check-names).
"""
BARRIER = "barrier"
"""Label of the name that is written before an absence is believed."""
VISIBLE_S = 3.0
"""So long a trial waits to read what was acknowledged; whether it is there at once is a property of its own."""
_AGAIN_S = 0.05
_CLEAN_NAMES = 50
_UPDATE = 5
NOERROR, SERVFAIL, NXDOMAIN, YXDOMAIN, YXRRSET, NXRRSET, NOTZONE = 0, 2, 3, 6, 7, 8, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back for an update. `rcode` None: no answer. `signed`: by the key, over this very update."""

    rcode: int | None
    signed: bool = False
    detail: str = ""

    @property
    def applied(self) -> bool:
        """Whether the server acknowledged it, and proved who it is."""
        return self.rcode == NOERROR and self.signed

    @property
    def text(self) -> str:
        """Return it for people."""
        if self.rcode is None:
            return f"no answer ({self.detail})"
        return f"{rcode_text(self.rcode)}{'' if self.signed else ', unsigned'}"


def rcode_text(rcode: int) -> str:
    return "NOERROR" if rcode == NOERROR else RCODE_TEXTS.get(rcode, f"rcode {rcode}")


class Unprepared(Exception):
    """What a trial begins with could not be written, so the trial shows nothing."""


class Bench:
    """A zone on a server, the key that may update it, and connections. Close it at the end."""

    def __init__(self, zone: str, host: str, port: int, key: TsigKey, clock: Clock, timeout_s: float) -> None:
        self.zone = zone
        self.key = key
        self.timeout_s = timeout_s
        self._host = host
        self._port = port
        self._clock = clock
        self._streams: list[Stream] = []
        self._writes = self.stream()
        self._reader = BulkReader(host, port, timeout_s=timeout_s, zone=zone, signing=Signing(lambda: key, clock))
        self.aliases: set[str] = set()
        """Labels at which a CNAME was written."""
        self._barriers = 0

    @property
    def apex(self) -> str:
        """The name at which it stands who works here."""
        return f"{LABEL}.{self.zone}"

    def name(self, label: str) -> str:
        return f"{label}.{self.apex}"

    def stream(self, in_flight_max: int = 1) -> Stream:
        """Return one more connection, which is opened when it is used."""
        made = Stream(self._host, self._port, in_flight_max=in_flight_max, share_max_ratio=1.0)
        self._streams.append(made)
        return made

    async def send(
        self,
        updates: Sequence[Record],
        *,
        when: Sequence[Record] = (),
        key: TsigKey | None = None,
        signed: bool = True,
        stream: Stream | None = None,
    ) -> Reply:
        """Send an update that requires `when`; `key`: another one than that of the zone."""
        body = pack_plain(self.zone, when, updates)
        return await self.send_packed(body, key=key, signed=signed, stream=stream)

    async def prepare(self, *updates: Record) -> None:
        """Write what a trial begins with. Raises `Unprepared` where that is not acknowledged."""
        reply = await self.send(updates)
        if not reply.applied:
            raise Unprepared(f"what the trial begins with is not written: {reply.text}")

    async def send_packed(
        self,
        body: bytes,
        *,
        key: TsigKey | None = None,
        signed: bool = True,
        stream: Stream | None = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """Send an update that is packed, given without its id."""
        key, mac = key or self.key, b""

        def made(message_id: int) -> bytes:
            nonlocal mac
            message = message_id.to_bytes(2, "big") + body
            if signed:
                message, mac = sign(message, key, now_s=int(self._clock.now()))
            return message

        try:
            reply = await (stream or self._writes).ask(made, timeout_s or self.timeout_s)
        except (NeverSent, MaybeReceived) as error:
            return Reply(rcode=None, detail=str(error))
        if not reply[2] & 0x80 or reply[2] >> 3 & 0xF != _UPDATE:
            return Reply(rcode=None, detail="an answer that is not one to an update")
        answer = Reply(rcode=reply[3] & 0xF)
        try:
            verify(reply, [key], now_s=int(self._clock.now()), request_mac=mac)
        except TsigError as error:
            return replace(answer, detail=str(error))
        return replace(answer, signed=signed)

    async def ask(self, name: str, rtype: int) -> Answer:
        """Ask a signed question. Raises `ZoneDown`."""
        return await self._reader.ask(name, rtype)

    async def reads(self, name: str, rtype: int, wanted: Sequence[bytes]) -> bool:
        """Whether these records, and no others, are read within `VISIBLE_S`. Raises `ZoneDown`."""
        return await self.shows(name, rtype, lambda answer: answer.rdatas == tuple(sorted(wanted)))

    async def has_settled(self) -> bool:
        """Whether one more write is acknowledged, and read within `VISIBLE_S`: then those before it are read, too.

        An absence shows something only after that. Raises `ZoneDown`.
        """
        self._barriers += 1
        name, mark = self.name(BARRIER), text(f"barrier {self._barriers}")
        reply = await self.send([delete(name, TYPE_TXT), add(name, TYPE_TXT, mark)])
        return reply.applied and await self.reads(name, TYPE_TXT, [mark])

    async def shows(self, name: str, rtype: int, right: Callable[[Answer], bool]) -> bool:
        """Whether the right answer comes within `VISIBLE_S`. Raises `ZoneDown`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + VISIBLE_S
        while not right(await self.ask(name, rtype)):
            if loop.time() > deadline:
                return False
            await asyncio.sleep(_AGAIN_S)
        return True

    async def clean(self, labels: Sequence[str]) -> str:
        """Delete all that trials may have written at some names; returns why not, "" where all is gone.

        A batch that is refused is sent again name by name: one name that is refused keeps none of the others.
        """
        wrong = ""
        for start in range(0, len(labels), _CLEAN_NAMES):
            batch = labels[start : start + _CLEAN_NAMES]
            if (await self._removed(batch)).applied:
                continue
            for label in batch:
                reply = await self._removed([label])
                wrong = wrong or ("" if reply.applied else f"{label}: {reply.text}")
        for label in sorted(self.aliases & set(labels)):
            reply = await self.send([delete(self.name(label), TYPE_CNAME)])
            wrong = wrong or ("" if reply.applied else f"{label}: {reply.text}")
        return wrong

    async def _removed(self, labels: Sequence[str]) -> Reply:
        types = (TYPE_A, TYPE_AAAA, TYPE_TXT)
        return await self.send([delete(self.name(label), rtype) for label in labels for rtype in types])

    async def close(self) -> None:
        await self._reader.close()
        for stream in self._streams:
            await stream.close()
