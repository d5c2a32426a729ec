"""From a message to its answer, whatever the transport: the order of the checks is here.

not a request, shorter than a header      dropped
answered before, unsigned                 from the cache, with the id and the case of this question
broken                                    FORMERR
signed wrongly                            NOTAUTH with BADKEY, BADSIG or BADTIME
UPDATE                                    NOTAUTH (zone), REFUSED (unsigned), else to the writer
AXFR                                      NOTAUTH (zone), REFUSED (unsigned, UDP), else a transfer
QUERY                                     REFUSED (zone, class), else what the zone says
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from enactord.dns_server.answers import FORMERR, NOTAUTH, NOTIMP, REFUSED, Answer, answer
from enactord.dns_server.request import (
    EDNS_DO,
    FLAG_AA,
    FLAG_CD,
    FLAG_QR,
    FLAG_RD,
    FLAG_TC,
    QUERY,
    UPDATE,
    Request,
    parse_request,
)
from enactord.dns_server.transfer import transfer
from enactord.dns_server.zone import SOA, Zone
from enactord.wire.names import HEADER_BYTES, Malformed
from enactord.wire.tsig import (
    TsigError,
    TsigFault,
    TsigKey,
    TsigRecord,
    sign,
    signature_bytes,
    verify_record,
    with_unsigned_error,
)

_BADVERS = 16  # Source: RFC 6891 section 6.1.3.
_CLASS_IN, _CLASS_NONE = 1, 254
_TYPE_IXFR, _TYPE_AXFR = 251, 252
_UDP_BYTES_PLAIN = 512  # Source: RFC 1035 section 4.2.1.
_TCP_BYTES = 65535
_CACHE_BYTES_MAX = 16 * 1024 * 1024
_CACHE_ENTRY_BYTES = 256  # what an entry takes besides its bytes
_CACHED_QUESTION_BYTES_MAX = 512
"""Longest message that is kept: anyone can send thousands of 64 KiB, each a little different."""
_CACHED_ANSWER_BYTES_MAX = 4096


class PendingUpdate(NamedTuple):
    """An UPDATE that may be carried out: well-formed, signed by a known key, for a zone that is served."""

    request: Request
    key: TsigKey
    zone: Zone


class Signed(bytes):
    """An answer to a question that a known key has signed, itself signed."""


Response = bytes | PendingUpdate | Iterator[bytes] | None
"""An answer, an update for the writer, the messages of a transfer, or nothing."""


class Responder:
    """Answers messages from zones that something else changes and then calls `forget`."""

    def __init__(
        self,
        zones: Mapping[bytes, Zone],
        keys: Sequence[TsigKey],
        *,
        clock: Callable[[], float],
        udp_bytes_max: int,
    ) -> None:
        self._zones = zones
        self._keys = keys
        self._clock = clock
        self._udp_bytes_max = udp_bytes_max
        self._caches: tuple[dict[bytes, tuple[bytes, bytes]], ...] = ({}, {})
        self._cached_bytes = [0, 0]
        self.queries = 0
        self.updates = 0
        self.cache_hits = 0

    def forget(self) -> None:
        """Empty the caches, because a zone changed."""
        for cache in self._caches:
            cache.clear()
        self._cached_bytes = [0, 0]

    def respond(self, message: bytes, over_tcp: bool) -> Response:
        """Return what to do about a message."""
        # The key is the message without its id and with the name in lower case. Only messages
        # whose name ends at the first zero byte are put in, so equal keys are equal questions.
        end = message.find(0, HEADER_BYTES)
        key = message[2:12] + message[12:end].lower() + message[end:]
        hit = self._caches[over_tcp].get(key)
        if hit is not None:
            self.queries += 1
            self.cache_hits += 1
            return b"".join((message[:2], hit[0], message[12 : end + 5], hit[1]))
        if len(message) < HEADER_BYTES or message[2] & 0x80:
            return None
        if message[2] >> 3 & 0xF not in (QUERY, UPDATE):
            return _bare(message, NOTIMP)
        try:
            request = parse_request(message)
        except Malformed:
            return _bare(message, FORMERR)
        response = self._dispatch(request, over_tcp)
        if isinstance(response, bytes) and request.opcode == QUERY and request.tsig is None:
            self._remember(over_tcp, key, request, end, response)
        return response

    def _remember(self, over_tcp: bool, key: bytes, request: Request, end: int, response: bytes) -> None:
        # Options (cookies) differ from one message to the next: they would only fill the cache.
        if end + 5 != request.question_end or len(response) > _CACHED_ANSWER_BYTES_MAX:
            return
        if len(key) > _CACHED_QUESTION_BYTES_MAX:
            return
        if request.edns is not None and request.edns.has_options:
            return
        size = _CACHE_ENTRY_BYTES + len(key) + len(response)
        if self._cached_bytes[over_tcp] + size > _CACHE_BYTES_MAX:
            self._caches[over_tcp].clear()
            self._cached_bytes[over_tcp] = 0
        self._cached_bytes[over_tcp] += size
        self._caches[over_tcp][key] = response[2:12], response[request.question_end :]

    def _dispatch(self, request: Request, over_tcp: bool) -> Response:
        if request.opcode == UPDATE:
            self.updates += 1
        else:
            self.queries += 1
        key: TsigKey | None = None
        if request.tsig is not None:
            try:
                key = verify_record(request.message, request.tsig, self._keys, now_s=self._now_s()).key
            except TsigError as error:
                return self._not_verified(request, request.tsig, error)
        size_max = _TCP_BYTES if over_tcp else self._udp_bytes(request)
        if request.edns is not None and request.edns.version != 0:
            return self._pack(request, key, Answer(_BADVERS, 0, 0, b""), size_max, authoritative=False)
        if request.opcode == UPDATE:
            return self._update(request, key, size_max)
        if request.qtype in (_TYPE_AXFR, _TYPE_IXFR):
            return self._transfer(request, key, size_max, over_tcp)
        zone = self._zone_of(request.qname)
        if zone is None or request.qclass != _CLASS_IN:
            return self._error(request, key, REFUSED, size_max)
        return self._pack(request, key, answer(zone, request.qname, request.qtype), size_max, authoritative=True)

    def _update(self, request: Request, key: TsigKey | None, size_max: int) -> Response:
        """Source: RFC 2136 section 3.1 (the zone section), section 3.3 (permission)."""
        if request.qtype != SOA:
            return self._error(request, key, FORMERR, size_max)
        zone = self._zones.get(request.qname)
        if zone is None or request.qclass != _CLASS_IN:
            return self._error(request, key, NOTAUTH, size_max)
        if key is None:
            return self._error(request, key, REFUSED, size_max)
        return PendingUpdate(request, key, zone)

    def finish(self, update: PendingUpdate, rcode: int) -> bytes:
        """Return the signed answer to an update that was carried out or refused."""
        return self._pack(update.request, update.key, Answer(rcode, 0, 0, b""), _TCP_BYTES, authoritative=False)

    def _transfer(self, request: Request, key: TsigKey | None, size_max: int, over_tcp: bool) -> Response:
        """An IXFR is answered with the whole zone, as RFC 1995 section 4 allows."""
        zone = self._zones.get(request.qname)
        if zone is None or request.qclass != _CLASS_IN:
            return self._error(request, key, NOTAUTH, size_max)
        if key is None or request.tsig is None or not over_tcp:
            return self._error(request, key, REFUSED, size_max)
        return transfer(zone, request, key, request.tsig.mac, self._now_s())

    def _zone_of(self, qname: bytes) -> Zone | None:
        """Return the zone with the longest origin that contains the name."""
        zones = self._zones
        while True:
            zone = zones.get(qname)
            if zone is not None or qname == b"\0":
                return zone
            qname = qname[qname[0] + 1 :]

    def _error(self, request: Request, key: TsigKey | None, rcode: int, size_max: int) -> bytes:
        return self._pack(request, key, Answer(rcode, 0, 0, b""), size_max, authoritative=False)

    def _pack(
        self, request: Request, key: TsigKey | None, found: Answer, size_max: int, *, authoritative: bool
    ) -> bytes:
        """Put an answer together, cut to the question with TC where it is too large, and signed if it has a key.

        Source: RFC 2181 section 9 (TC), RFC 6891 section 6.1.1 (OPT is answered by OPT).
        """
        message = request.message
        flags = _reply_flags(request.flags) | (FLAG_AA if authoritative else 0)
        question = message[12 : request.question_end]
        opt = b"" if request.edns is None else self._opt(found.rcode, request.edns.dnssec_ok)
        fixed = HEADER_BYTES + len(question) + len(opt) + (0 if key is None else signature_bytes(key))
        if fixed + len(found.body) > size_max:
            flags |= FLAG_TC
            found = Answer(found.rcode, 0, 0, b"")
        reply = b"".join(
            (
                message[:2],
                (flags | found.rcode & 0xF).to_bytes(2, "big"),
                b"\0\1",
                found.answers.to_bytes(2, "big"),
                found.authorities.to_bytes(2, "big"),
                b"\0\1" if opt else b"\0\0",
                question,
                found.body,
                opt,
            )
        )
        if key is None or request.tsig is None:
            return reply
        return Signed(sign(reply, key, now_s=self._now_s(), request_mac=request.tsig.mac)[0])

    def _opt(self, rcode: int, dnssec_ok: bool) -> bytes:
        """Source: RFC 6891 section 6.1.3, RFC 3225 section 3 (the DO bit is copied)."""
        flags = EDNS_DO if dnssec_ok else 0
        return b"".join(
            (
                b"\0\0\x29",
                self._udp_bytes_max.to_bytes(2, "big"),
                bytes((rcode >> 4, 0)),
                flags.to_bytes(2, "big"),
                b"\0\0",
            )
        )

    def _udp_bytes(self, request: Request) -> int:
        if request.edns is None:
            return _UDP_BYTES_PLAIN
        return max(_UDP_BYTES_PLAIN, min(request.edns.size, self._udp_bytes_max))

    def _not_verified(self, request: Request, record: TsigRecord, error: TsigError) -> bytes:
        """Source: RFC 8945 section 5.2: what is answered to each fault, and what of it is signed."""
        if error.kind is TsigFault.MALFORMED:
            return _bare(request.message, FORMERR)
        reply = self._error(request._replace(tsig=None), None, NOTAUTH, _TCP_BYTES)
        if error.key is None:
            return with_unsigned_error(reply, record, error.kind)
        late = error.kind is TsigFault.BADTIME
        return sign(
            reply,
            error.key,
            now_s=record.time_signed_s if late else self._now_s(),
            request_mac=record.mac,
            error=error.kind,
            other=self._now_s().to_bytes(6, "big") if late else b"",
        )[0]

    def _now_s(self) -> int:
        return int(self._clock())


def _reply_flags(flags: int) -> int:
    """QR, and the opcode, RD and CD as they came; RA never.

    Source: RFC 1035 section 4.1.1, RFC 4035 section 3.1.6.
    """
    return FLAG_QR | flags & (0x7800 | FLAG_RD | FLAG_CD)


def _bare(message: bytes, rcode: int) -> bytes:
    """A header alone, for a message of which nothing else can be trusted."""
    flags = _reply_flags(int.from_bytes(message[2:4], "big")) | rcode
    return message[:2] + flags.to_bytes(2, "big") + b"\0\0\0\0\0\0\0\0"
