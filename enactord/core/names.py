"""Names: one normal form of a DNS name, and the zone that contains it."""

import re
from collections.abc import Collection
from functools import lru_cache

from enactord.core.errors import InvalidName

FENCE_LABEL = "_enactord"
"""The label of the fence at a zone's apex; no endpoint may have it."""

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMBERS = re.compile(r"([0-9]+)")
_MAX_WIRE_LENGTH = 255  # Source: RFC 1035 section 2.3.4.


def parse_name(text: str) -> str:
    """Return the name in lower case, ASCII, with its final dot.

    Accepts letters, digits, hyphen and underscore in labels, and `*` as the whole
    leftmost label. Raises `InvalidName` otherwise.
    Source: RFC 1035 section 2.3.1, RFC 2181 section 11, RFC 4592 (wildcards).
    """
    name = text.lower()
    if not name.endswith("."):
        name += "."
    if name == ".":
        raise InvalidName("the root is not a name that can be managed")
    if not name.isascii():
        raise InvalidName(f"{text!r}: write an international name in its ASCII form (xn--…)")
    labels = name[:-1].split(".")
    if labels[0] == "*":
        labels = labels[1:]
    for label in labels:
        if not _LABEL.match(label):
            raise InvalidName(f"{text!r}: label {label!r} is not 1 to 63 letters, digits, '-' or '_'")
    if len(name) + 1 > _MAX_WIRE_LENGTH:
        raise InvalidName(f"{text!r}: longer than {_MAX_WIRE_LENGTH} bytes")
    return name


@lru_cache(maxsize=8192)
def wire_name(name: str) -> bytes:
    """Return a normalised name as uncompressed labels, as RFC 1035 section 3.1 writes them."""
    if name == ".":
        return b"\0"
    return b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.split("."))


def zone_of(name: str, zones: Collection[str]) -> str | None:
    """Return the longest of the zones that contains the name, or None.

    A set or mapping of zones costs a look-up a label; a sequence is searched through for each.
    """
    start = 0
    while True:
        zone = name[start:]
        if zone in zones:
            return zone
        start = name.find(".", start) + 1
        if not 0 < start < len(name):
            return None


def fence_name(zone: str) -> str:
    """Return the name that carries the zone's fence."""
    return f"{FENCE_LABEL}.{zone}"


def check_id(value: str) -> str:
    """Return what is wrong with the name of an enactor or a planner, or ""."""
    return "" if _ID.match(value) else "must be 1 to 63 letters, digits, '.', '_' or '-'"


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


def natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a key that sorts names as people count: svc2 before svc10.

    Texts and numbers take turns in it, a text first, so that two keys can always be compared.
    """
    parts = _NUMBERS.split(name)
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), name
