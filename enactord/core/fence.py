"""The fence: the highest generation opened in a zone, as the TXT record that the DNS server compares."""

import re
from dataclasses import dataclass

_TEXT = re.compile(
    r"v=enactord1 scope=(?P<scope>[a-z0-9._-]{1,63}) gen=(?P<generation>0|[1-9][0-9]{0,18})"
    r" plan=(?P<plan>[0-9a-f]{16})\Z"
)

FenceSeen = tuple[bytes, ...]
"""What a zone holds at the fence's name: the rdata of each TXT record, sorted; () where there is none."""

PLAN_MARK_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """A generation opened in a zone, with the first 16 hex digits of its plan's digest."""

    scope: str
    generation: int
    plan: str

    @property
    def text(self) -> str:
        return f"v=enactord1 scope={self.scope} gen={self.generation} plan={self.plan}"

    @property
    def rdata(self) -> bytes:
        """The TXT rdata: one character-string, prefixed by its length (RFC 1035 section 3.3.14)."""
        text = self.text.encode("ascii")
        return bytes((len(text),)) + text

    @property
    def seen(self) -> FenceSeen:
        """What a zone holds when exactly this fence stands in it."""
        return (self.rdata,)


def parse_fence(seen: FenceSeen) -> Fence | None:
    """Return the fence that stands in a zone, or None where there is none or what is there is garbage.

    Several records, several strings in one record, or any other text is garbage: the
    caller replaces exactly what was read, so no state of a zone can block an open.
    """
    if len(seen) != 1 or not seen[0] or seen[0][0] != len(seen[0]) - 1:
        return None
    try:
        match = _TEXT.match(seen[0][1:].decode("ascii"))
    except UnicodeDecodeError:
        return None
    if match is None:
        return None
    return Fence(scope=match["scope"], generation=int(match["generation"]), plan=match["plan"])
