"""What a DNS server calls itself: the question version.bind, class CHAOS, type TXT. Source: RFC 4892 section 2."""

from enactord.core.names import wire_name
from enactord.wire.names import HEADER_BYTES, Malformed, read_fixed, skip_name
from enactord.wire.stream import MaybeReceived, NeverSent, Stream

_TXT_CHAOS = b"\0\x10\0\3"
_QUERY = b"\0\0\0\1\0\0\0\0\0\0" + wire_name("version.bind.") + _TXT_CHAOS
_LONGEST = 100


async def ask_version(stream: Stream, timeout_s: float) -> str:
    """Return a server's own word, cut to 100 characters; "" where it does not tell. It proves nothing."""
    try:
        reply = await stream.ask(lambda message_id: message_id.to_bytes(2, "big") + _QUERY, timeout_s)
        if len(reply) < HEADER_BYTES or reply[3] & 0xF or not int.from_bytes(reply[6:8], "big"):
            return ""
        position = skip_name(reply, HEADER_BYTES) + len(_TXT_CHAOS)
        _, _, _, start, end = read_fixed(reply, skip_name(reply, position))
    except (NeverSent, MaybeReceived, Malformed):
        return ""
    if start == end:
        return ""
    return reply[start + 1 : min(end, start + 1 + reply[start])].decode("ascii", "replace")[:_LONGEST]
