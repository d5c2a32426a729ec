"""A zone of any server that takes RFC 2136 updates: BIND 9, Knot DNS, PowerDNS, the embedded one.

Every write is one signed UPDATE message, whose prerequisites the server checks and
whose records it changes in one step (RFC 2136 section 3.7). What its answer proves:

    answer                                        outcome
    NOERROR, signed by the key                    Committed
    NOERROR, unsigned or signed wrongly           Unknown: anyone could have said so
    YXRRSET NXRRSET                               Refused(condition)
    NOTAUTH REFUSED                               Refused(denied)
    FORMERR NOTIMP NOTZONE YXDOMAIN NXDOMAIN      Refused(content): no prerequisite of ours is about a name as a whole
    SERVFAIL                                      Unknown, answered: the server failed at it, perhaps half way
    any other                                     Unknown
    none, and nothing was sent                    Refused(busy)
    none, though something was sent               Unknown

A refusal is believed unsigned: servers do not sign what they say to a key that they do
not accept, and a forged refusal does no harm, because the caller reads before it goes on.

Every question is signed by the same key. What its answer proves:

    answer                                        the name
    NOERROR NXDOMAIN, signed by the key           is served so
    NOERROR NXDOMAIN, unsigned, signed wrongly,
    or signed over another question               is not told of: anyone could have said so
    any other, none                               is not told of

So reads and writes meet the same view and the same rules of the server, and nobody on the
way can show a fence or a content that is not there.
"""

from collections.abc import Mapping, Sequence

from enactord.backends.readers.bulk import BulkReader, Signing
from enactord.backends.rfc2136.denials import (
    RCODE_TEXTS,
    TSIG_FIXES,
    TSIG_NAMES,
    UPDATE_FIXES,
    refused_whole,
    said,
    tsig_error,
)
from enactord.core.errors import ZoneDown, ZoneOdd
from enactord.core.fence import FenceSeen, parse_fence
from enactord.core.names import fence_name
from enactord.core.records import (
    NO_RECORDS,
    Committed,
    Outcome,
    Reason,
    Refused,
    Requirement,
    Served,
    Transaction,
    Unknown,
)
from enactord.ports import Clock, Duty, Said
from enactord.wire.answer import TYPE_A, TYPE_TXT, BrokenAnswer
from enactord.wire.connections import ServerConnections
from enactord.wire.expire import pack_expire_query, parse_expiry
from enactord.wire.stream import MaybeReceived, NeverSent, Stream
from enactord.wire.tsig import TsigError, TsigKey, sign, verify
from enactord.wire.update import TooLarge, pack_update

_OPCODE_UPDATE = 5

_REASONS = {
    7: Reason.CONDITION, 8: Reason.CONDITION,
    5: Reason.DENIED, 9: Reason.DENIED,
    1: Reason.CONTENT, 3: Reason.CONTENT, 4: Reason.CONTENT, 6: Reason.CONTENT, 10: Reason.CONTENT,
}  # fmt: skip

_SERVFAIL = 2


class Rfc2136Zone:
    """One zone of one server; implements `Zone`.

    With `shared`, its connections to that server are used, in turn with other zones, and are
    left open at the end; else the zone has its own. `timeout_s` bounds one write, and one
    round of questions.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        key: TsigKey,
        clock: Clock,
        timeout_s: float,
        shared: ServerConnections | None = None,
    ) -> None:
        self._name = name
        self.key = key
        """Signs what is written and asked from now on; what is under way ends with the key that it began with."""
        self._clock = clock
        self._timeout_s = timeout_s
        self._shared = shared is not None
        self._connections = shared or ServerConnections(host, port)
        self._reader = BulkReader(
            host,
            port,
            timeout_s=timeout_s,
            shared=self._connections,
            owner=name,
            zone=name,
            signing=Signing(lambda: self.key, clock),
        )

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        return await self._reader.read(names)

    async def read_fence(self) -> FenceSeen:
        """Return the TXT records that stand at the fence's name, for certain not a wildcard's."""
        name = fence_name(self._name)
        answer = await self._reader.ask(name, TYPE_TXT)
        if answer.alias is not None:
            # A wildcard CNAME answers for a fence that is not there, and stands in no fence's way.
            nothing = Requirement(name=name, records=NO_RECORDS)
            if await self.write(Transaction(fence_seen=(), requires=[nothing])) == Committed():
                return ()
            raise ZoneOdd(f"a CNAME stands at {name}: remove it, no fence can stand beside it")
        seen = answer.rdatas
        if not seen or parse_fence(seen) is not None:
            return seen
        # Garbage, or the zone has a wildcard TXT (a common "*. TXT v=spf1 -all") and no fence yet.
        # Prerequisites look past wildcards, so an open that requires what the question showed
        # would be refused for ever. An update of prerequisites alone tells the two apart.
        outcome = await self.write(Transaction(fence_seen=seen))
        if isinstance(outcome, Unknown):
            raise ZoneDown(f"{name}: cannot tell a fence from a wildcard: {outcome.detail}")
        if isinstance(outcome, Refused) and outcome.reason is Reason.CONDITION:
            return ()
        return seen

    async def negative_ttl_s(self) -> int | None:
        """Ask for an address at the fence's name, where none stands, and read the SOA that comes in its place."""
        return (await self._reader.ask(fence_name(self._name), TYPE_A)).negative_ttl_s

    async def write(self, transaction: Transaction) -> Outcome:
        try:
            body = pack_update(self._name, transaction, 0)
        except TooLarge as error:
            return Refused(reason=Reason.CONTENT, detail=str(error))  # halved as if the server had refused it
        try:
            reply, key, mac = await self._exchange(self._connections.writes, body[2:])
        except NeverSent as error:
            return Refused(reason=Reason.BUSY, detail=str(error))
        except MaybeReceived as error:
            return Unknown(detail=str(error))
        outcome = self._outcome(reply, key, mac)
        if not isinstance(outcome, Refused) or outcome.reason is not Reason.DENIED:
            return outcome
        if transaction.changes or tsig_error(reply):
            return outcome
        return refused_whole(await self.duty(), key, outcome)

    async def duty(self) -> Said:
        """Ask the server whether it is the zone's primary. Only an answer that the key signed proves anything."""
        try:
            reply, key, mac = await self._exchange(self._connections.reads, pack_expire_query(self._name))
            verify(reply, [key], now_s=self._now_s(), request_mac=mac)
            return said(parse_expiry(reply, self._name))
        except (NeverSent, MaybeReceived, TsigError, BrokenAnswer) as error:
            return Said(duty=Duty.UNKNOWN, detail=str(error))

    async def _exchange(self, stream: Stream, body: bytes) -> tuple[bytes, TsigKey, bytes]:
        """Send a message, given without its id, signed; returns the reply, the key, and the MAC that was sent."""
        key, mac = self.key, b""

        def signed(message_id: int) -> bytes:
            nonlocal mac
            message, mac = sign(message_id.to_bytes(2, "big") + body, key, now_s=self._now_s())
            return message

        return await stream.ask(signed, self._timeout_s, owner=self._name), key, mac

    async def close(self) -> None:
        if not self._shared:
            await self._connections.close()

    def _now_s(self) -> int:
        return int(self._clock.now())

    def _outcome(self, reply: bytes, key: TsigKey, request_mac: bytes) -> Outcome:
        """Read an answer as the table above says."""
        flags = int.from_bytes(reply[2:4], "big")
        rcode = flags & 0xF
        if not flags & 0x8000 or flags >> 11 & 0xF != _OPCODE_UPDATE:
            return Unknown(detail="the answer is not one to an update")
        if rcode == 0:
            try:
                verify(reply, [key], now_s=self._now_s(), request_mac=request_mac)
            except TsigError as error:
                return Unknown(detail=f"NOERROR that does not verify: {error}")
            return Committed()
        text = RCODE_TEXTS.get(rcode, f"rcode {rcode}")
        reason = _REASONS.get(rcode)
        if reason is None:
            return Unknown(detail=text, answered=rcode == _SERVFAIL)
        fault = tsig_error(reply)
        answer = f"{text}, TSIG error {TSIG_NAMES.get(fault, fault)}" if fault else text
        if reason is Reason.DENIED:
            fix = TSIG_FIXES.get(fault) or UPDATE_FIXES[rcode]
            return Refused(reason=reason, detail=f"{text} for key {key.name}: {fix}", answer=answer)
        return Refused(reason=reason, detail=text, answer=answer)
