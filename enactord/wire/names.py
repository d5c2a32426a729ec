"""Names and records as they stand in a message: read with every offset checked.

A name in wire form is its uncompressed labels and the final zero byte. Length bytes
are at most 63, below any letter, so `bytes.lower()` lowers exactly the letters.
"""

from struct import Struct

MAX_NAME_BYTES = 255
"""Source: RFC 1035 section 2.3.4."""

HEADER_BYTES = 12
"""Source: RFC 1035 section 4.1.1."""

POINTERS_MAX = 32
"""Most pointers in one name. A chain of thousands, read for each of thousands of records, would take seconds;
packers make a pointer a label at worst, and nobody has names of so many labels that each is one."""

_FIXED = Struct("!HHIH")  # type, class, TTL, length of the rdata: RFC 1035 section 4.1.3


class Malformed(ValueError):
    """A message that breaks off, points forward, or is otherwise not as RFC 1035 writes one."""


def text_to_wire(text: str) -> bytes:
    """Return a name given as text, with or without its final dot, in lower case wire form.

    Raises ValueError. For names of keys and zones: no escapes.
    """
    labels = [label.encode("ascii") for label in text.lower().rstrip(".").split(".") if label]
    if any(len(label) > 63 for label in labels):
        raise ValueError(f"{text!r}: a label is longer than 63 bytes")
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(wire) > MAX_NAME_BYTES:
        raise ValueError(f"{text!r}: longer than {MAX_NAME_BYTES} bytes")
    return wire


def read_name(message: bytes, position: int) -> tuple[bytes, int]:
    """Return the name at a position, in wire form and as its sender wrote it, and where what follows starts.

    A pointer must point below the place where its name, or the part that the last
    pointer led to, began, and what it points to must end there: so no loop can form,
    and nothing is read as two things. Raises `Malformed`.
    Source: RFC 1035 section 4.1.4.
    """
    limit = len(message)
    parts: list[bytes] = []
    total = 1
    after = -1
    start = lowest = position
    while True:
        if position >= limit:
            raise Malformed("a name ends outside the message, or within what points to it")
        length = message[position]
        if length == 0:
            break
        if length < 64:
            position += 1 + length
            total += 1 + length
            if total > MAX_NAME_BYTES:
                raise Malformed("a name is too long")
            continue
        if length < 0xC0:
            raise Malformed("a label of an unknown kind")
        if position + 1 >= limit:
            raise Malformed("a name ends outside the message, or within what points to it")
        target = (length & 0x3F) << 8 | message[position + 1]
        if not HEADER_BYTES <= target < lowest:
            raise Malformed("a name points forward, or into the header")
        if len(parts) == POINTERS_MAX:
            raise Malformed("a name of too many pointers")
        parts.append(message[start:position])
        if after < 0:
            after = position + 2
        limit = start
        position = start = lowest = target
    parts.append(message[start : position + 1])
    return b"".join(parts), position + 1 if after < 0 else after


def skip_name(message: bytes, position: int) -> int:
    """Return where what follows a name starts, without following its pointer. Raises `Malformed`."""
    size = len(message)
    while position < size:
        length = message[position]
        if length == 0:
            return position + 1
        if length >= 0xC0:
            if position + 2 > size:
                break
            return position + 2
        if length > 63:
            raise Malformed("a label of an unknown kind")
        position += 1 + length
    raise Malformed("a name ends outside the message")


def read_fixed(message: bytes, position: int) -> tuple[int, int, int, int, int]:
    """Return type, class, TTL, and start and end of the rdata, of a record whose owner ends at a position.

    Raises `Malformed` when any of it lies outside the message.
    """
    start = position + 10
    if start > len(message):
        raise Malformed("a record ends outside the message")
    rtype, rclass, ttl_s, length = _FIXED.unpack_from(message, position)
    end = start + length
    if end > len(message):
        raise Malformed("a record ends outside the message")
    return rtype, rclass, ttl_s, start, end
