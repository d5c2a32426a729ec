"""A refused publication: the last that guards refused of a planner, kept by its digest until an operator has looked.

It is a whole plan, or what changes against another. What it holds is cut into chunks as a plan is: the text of a name
that it withdraws is empty, which no content is.
"""

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from enactord.core.errors import PlanUnreadable
from enactord.core.manifest import pack_document, part_document, read_part, unpack_document
from enactord.core.moment import AT_MAX
from enactord.core.plan import GENERATION_MAX, Draft, ZonePart, content_digest
from enactord.core.refusal import Refusal

WITHDRAWN = ""
_MARK_LENGTH = 16
_CHANGES = "enactord.changes/v1"
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_HANDLE = re.compile(r"[0-9a-f]{12,64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What a planner last wanted to publish, and why guards refused it.

    `whole`: it is all that the scope should hold; else what changes. `newest`: the newest plan when it was refused.
    `first_at`, `last_at`: when that was, in seconds since the epoch; `times`: how often. `names`: how many it holds.
    """

    planner: str
    digest: str
    whole: bool
    author: str
    created_at: str
    newest: int
    first_at: float
    last_at: float
    times: int
    names: int
    refusals: tuple[Refusal, ...]
    zones: Mapping[str, ZonePart]

    @property
    def mark(self) -> str:
        """The part of the digest that is shown, and that an operator types."""
        return mark_of(self.digest)

    def digests(self) -> Iterator[str]:
        """Yield the digest of every chunk, in order of zone and slot."""
        for zone in sorted(self.zones):
            yield from self.zones[zone].chunks.values()


def mark_of(digest: str) -> str:
    """Return the part of a digest that is shown: 16 digits, or more, so that it is no generation's number."""
    letter = next((place for place, sign in enumerate(digest) if sign.isalpha()), len(digest))
    return digest[: max(_MARK_LENGTH, letter + 1)]


def is_handle(text: str) -> bool:
    """Whether a text can name a refused publication: 12 to 64 hex digits of the digest's start, not a mere number."""
    return _HANDLE.match(text) is not None and not text.isdecimal()


def contents_of(draft: Draft) -> dict[str, str]:
    """Return what a draft holds, sorted by name: the text of each name's content, or `WITHDRAWN`."""
    return dict(sorted({**draft.endpoints, **dict.fromkeys(draft.withdrawn, WITHDRAWN)}.items()))


def contribution_digest(scope: str, contents: Mapping[str, str], *, whole: bool) -> str:
    """Return the digest of what a draft holds: 64 hex digits; of a whole plan the one that its planner may state."""
    if whole:
        return content_digest(scope, contents)
    lines = [f"{_CHANGES} {scope}\n", *[f"{name}\t{contents[name]}\n" for name in sorted(contents)]]
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def pack_contribution(kept: Contribution) -> bytes:
    """Return the stored form of a refused publication."""
    document: dict[str, Any] = {
        "digest": kept.digest,
        "whole": kept.whole,
        "author": kept.author,
        "created_at": kept.created_at,
        "newest": kept.newest,
        "first_at": kept.first_at,
        "last_at": kept.last_at,
        "times": kept.times,
        "names": kept.names,
        "refusals": [[refusal.guard, refusal.detail] for refusal in kept.refusals],
        "zones": {zone: part_document(part) for zone, part in kept.zones.items()},
    }
    return pack_document(document)


def unpack_contribution(packed: bytes, planner: str) -> Contribution:
    """Return a stored refused publication. Raises `PlanUnreadable` where it is damaged."""
    try:
        document = unpack_document(packed)
        kept = Contribution(
            planner=planner,
            digest=document["digest"],
            whole=document["whole"],
            author=document["author"],
            created_at=document["created_at"],
            newest=document["newest"],
            first_at=document["first_at"],
            last_at=document["last_at"],
            times=document["times"],
            names=document["names"],
            refusals=tuple(Refusal(guard=guard, detail=detail) for guard, detail in document["refusals"]),
            zones={zone: read_part(part) for zone, part in document["zones"].items()},
        )
        _check_kinds(kept)
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PlanUnreadable(f"the refused publication of planner {planner} is damaged: {error!r:.200}") from error
    return kept


def _check_kinds(kept: Contribution) -> None:
    """Check what would surprise whoever reads it later. Raises TypeError."""
    words = [word for refusal in kept.refusals for word in (refusal.guard, refusal.detail)]
    texts: list[Any] = [kept.author, kept.created_at, *words, *kept.digests()]
    numbers = (kept.newest, kept.times, kept.names)
    times = (kept.first_at, kept.last_at)
    sound = (
        isinstance(kept.digest, str)
        and _DIGEST.match(kept.digest) is not None
        and isinstance(kept.whole, bool)
        and all(isinstance(text, str) for text in texts)
        and all(type(number) is int and 0 <= number < GENERATION_MAX for number in numbers)
        and all(type(at) in (int, float) and 0 <= at < AT_MAX for at in times)
    )
    if not sound:
        raise TypeError("a value that is none of its kind")
