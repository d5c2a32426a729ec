"""The content of an endpoint: its TTL and targets, in one canonical text that is compared as it is."""

import json
import socket
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

WEIGHT_MAX = 2**31 - 1
TARGETS_MAX = 4096
"""Targets of one endpoint; more would not fit a chunk with its neighbours."""
ID_LENGTH_MAX = 128


class Target(NamedTuple):
    """One address of an endpoint. `weight` 0: known, not served. `id` is the planner's, for people.

    A named tuple, because there are as many as all endpoints have targets, made anew with each plan.
    """

    address: str
    weight: int
    id: str = ""

    @property
    def packed(self) -> bytes:
        return pack_address(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a plan says of one endpoint; targets are sorted by address, no address twice.

    `malformed`: why what the planner sent for the name is no endpoint; then nothing else is known of it.
    """

    ttl_s: int
    targets: tuple[Target, ...]
    malformed: str = ""

    @property
    def usable(self) -> tuple[Target, ...]:
        return tuple([target for target in self.targets if target.weight > 0])

    @property
    def weight(self) -> int:
        return sum([target.weight for target in self.targets])

    def capacity(self, answers_max: int) -> "Capacity":
        """What it can carry in a zone of that `answers_max`."""
        targets = self.targets
        if len(targets) > answers_max:
            return Capacity(self.weight, served([target.address for target in self.usable], answers_max))
        return Capacity(sum([target[1] for target in targets]), sum([target[1] > 0 for target in targets]))


class Capacity(NamedTuple):
    """What an endpoint can carry, measured in two ways.

    `addresses`: how many are served at once; 0 where the zone expresses weights, which say it all.
    """

    weight: int = 0
    addresses: int = 0


def served(addresses: Collection[str], answers_max: int) -> int:
    """Return how many addresses are served of these at once, at most `answers_max` of each family; 0: not counted."""
    if len(addresses) <= answers_max or not answers_max:
        return len(addresses) if answers_max else 0
    v6 = sum([":" in address for address in addresses])
    return min(v6, answers_max) + min(len(addresses) - v6, answers_max)


@lru_cache(maxsize=262_144)
def pack_address(text: str) -> bytes:
    """Return an address as 4 or 16 bytes. Raises ValueError for anything but a full literal address."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return socket.inet_pton(family, text)
    except (OSError, UnicodeEncodeError) as error:
        raise ValueError(f"{text!r} is no IPv4 or IPv6 address") from error


def unpack_address(packed: bytes) -> str:
    """Return the canonical text of a packed address. Source: RFC 5952 for IPv6."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def content_text(content: Content) -> str:
    """Return the canonical text: equal text is equal content, and nothing else is.

    JSON, ASCII, without blanks, tabs or newlines: [ttl_s, [[address, weight(, id)], …]]; of one that is
    malformed, [0, [], why].
    """
    if content.malformed:
        return json.dumps([0, [], content.malformed], separators=(",", ":"))
    targets = [
        [target.address, target.weight, target.id] if target.id else [target.address, target.weight]
        for target in content.targets
    ]
    return json.dumps([content.ttl_s, targets], separators=(",", ":"))


def parse_content(text: str) -> Content:
    """Return the content of a canonical text, as `content_text` wrote it."""
    ttl_s, targets, *more = json.loads(text)
    return Content(
        ttl_s=ttl_s,
        targets=tuple([Target(*target) for target in targets]),
        malformed=more[0] if more else "",
    )


def content_json(content: Content) -> dict[str, Any]:
    """Return the content as a plan document has it; with why, where it is malformed."""
    why = {"malformed": content.malformed} if content.malformed else {}
    return why | {
        "ttl_s": content.ttl_s,
        "targets": [
            {"address": t.address, "weight": t.weight} | ({"id": t.id} if t.id else {}) for t in content.targets
        ],
    }
