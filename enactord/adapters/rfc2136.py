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
"""

from collections.abc import Mapping, Sequence

from enactord.adapters.bulk_reader import BulkReader
from enactord.adapters.server_connections import ServerConnections
from enactord.adapters.wire.answer import TYPE_TXT
from enactord.adapters.wire.names import Malformed
from enactord.adapters.wire.stream import MaybeReceived, NeverSent
from enactord.adapters.wire.tsig import TsigError, TsigKey, find_tsig, sign, verify
from enactord.adapters.wire.update import TooLarge, pack_update
from enactord.core.errors import ZoneDown
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
from enactord.ports import Clock

_OPCODE_UPDATE = 5

_RCODE_TEXTS = {
    1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN",
    7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE",
}  # fmt: skip
"""Source: RFC 2136 section 2.2."""

_REASONS = {
    7: Reason.CONDITION, 8: Reason.CONDITION,
    5: Reason.DENIED, 9: Reason.DENIED,
    1: Reason.CONTENT, 3: Reason.CONTENT, 4: Reason.CONTENT, 6: Reason.CONTENT, 10: Reason.CONTENT,
}  # fmt: skip

_SERVFAIL = 2

_TSIG_NAMES = {16: "BADSIG", 17: "BADKEY", 18: "BADTIME", 22: "BADTRUNC"}
"""Source: RFC 8945 section 3."""

_TSIG_FIXES = {
    16: "BADSIG: the server has another secret for this key",
    17: "BADKEY: the server does not know this key, or does not let it update",
    18: "BADTIME: the clocks are too far apart; set this machine's or the server's",
    22: "BADTRUNC: the server wants a longer signature",
}
"""Source: RFC 8945 section 5.2; Knot answers BADKEY to a known key without permission."""

_DENIED_FIXES = {
    5: "this server is a secondary of the zone and not its primary, or the zone is frozen (BIND: rndc thaw), or the"
    " server's update policy does not let the key update the zone and the types A, AAAA and TXT in it;"
    " PowerDNS says no more than this for another secret, an unknown key and a clock too far off, too",
    9: "this server does not serve the zone as its primary, or does not let this key update it",
}


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
        """Signs the writes that begin from now on; those under way end with the key that they began with."""
        self._clock = clock
        self._timeout_s = timeout_s
        self._shared = shared is not None
        self._connections = shared or ServerConnections(host, port)
        self._reader = BulkReader(host, port, timeout_s=timeout_s, shared=self._connections, owner=name, zone=name)

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
            raise ZoneDown(f"a CNAME stands at {name}: remove it, no fence can stand beside it")
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

    async def write(self, transaction: Transaction) -> Outcome:
        try:
            body = pack_update(self._name, transaction, 0)
        except TooLarge as error:
            return Refused(reason=Reason.CONTENT, detail=str(error))  # halved as if the server had refused it
        key, mac = self.key, b""

        def signed(message_id: int) -> bytes:
            nonlocal mac
            message, mac = sign(message_id.to_bytes(2, "big") + body[2:], key, now_s=self._now_s())
            return message

        try:
            reply = await self._connections.writes.ask(signed, self._timeout_s, owner=self._name)
        except NeverSent as error:
            return Refused(reason=Reason.BUSY, detail=str(error))
        except MaybeReceived as error:
            return Unknown(detail=str(error))
        return self._outcome(reply, key, mac)

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
        text = _RCODE_TEXTS.get(rcode, f"rcode {rcode}")
        reason = _REASONS.get(rcode)
        if reason is None:
            return Unknown(detail=text, answered=rcode == _SERVFAIL)
        fault = _tsig_error(reply)
        answer = f"{text}, TSIG error {_TSIG_NAMES.get(fault, fault)}" if fault else text
        if reason is Reason.DENIED:
            fix = _TSIG_FIXES.get(fault) or _DENIED_FIXES[rcode]
            return Refused(reason=reason, detail=f"{text} for key {key.name}: {fix}", answer=answer)
        return Refused(reason=reason, detail=text, answer=answer)


def _tsig_error(reply: bytes) -> int:
    """Return the error that a reply's TSIG record names, 0 where there is none. Verifies nothing."""
    try:
        record = find_tsig(reply)
    except Malformed:
        return 0
    return 0 if record is None else record.error
