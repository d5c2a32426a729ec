"""The fence: the highest generation opened in a zone, as the TXT record that the DNS server compares."""

import re
from dataclasses import dataclass, field, replace

_BEGINS = b"v=enactord"
"""What every fence begins with, of whatever version: such a text is never garbage."""
_VERSION = "enactord1"
_TEXT = re.compile(
    r"v=enactord1 scope=(?P<scope>[a-z0-9._-]{1,63}) gen=(?P<generation>0|[1-9][0-9]{0,18})"
    r" plan=(?P<plan>[0-9a-f]{16})(?: id=(?P<installation>[0-9a-f]{16}))?(?P<more>(?: (?!held=|id=)[!-<>-~]+=[!-~]*)*)"
    r"(?: held=(?P<hold>[ -~]{1,120}))?\Z"
)

FenceSeen = tuple[bytes, ...]
"""What a zone holds at the fence's name: the rdata of each TXT record, sorted; () where there is none."""

PLAN_MARK_LENGTH = 16
NO_PLAN = "0" * PLAN_MARK_LENGTH
"""The mark of a fence that an operator raised by hand: no plan has it."""
FENCE_MAX = 10**19 - 1
"""The highest generation that a fence's text can name: far above those of plans, which end at 18 digits."""
HOLD_MAX = 100
"""Longest text of a hold: with it, and the longest scope, the fence still is one character-string of 255."""
_TEXT_SHOWN, _VERSION_SHOWN = 120, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """A generation opened in a zone, with the first 16 hex digits of its plan's digest.

    `hold`: who keeps every enactor out of the zone, and why (printable ASCII, at most
    `HOLD_MAX` characters); "": nobody. A fence that is held gives way to operators alone,
    whatever its generation. `installation`: the id of the installation that raised it; "": none,
    from before there were ids. `more`: fields that this version does not know, each with a space
    before it; they are read and compared, and the next raise leaves them out. `primary`: the server
    that it is to stand on, where the zone may have another one, too; no part of its text.
    """

    scope: str
    generation: int
    plan: str
    installation: str = ""
    more: str = ""
    hold: str = ""
    primary: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        own = f" id={self.installation}" if self.installation else ""
        held = f" held={self.hold}" if self.hold else ""
        return f"v={_VERSION} scope={self.scope} gen={self.generation} plan={self.plan}{own}{self.more}{held}"

    @property
    def rdata(self) -> bytes:
        """The TXT rdata: one character-string, prefixed by its length (RFC 1035 section 3.3.14)."""
        text = self.text.encode("ascii")
        return bytes((len(text),)) + text

    @property
    def seen(self) -> FenceSeen:
        """What a zone holds when exactly this fence stands in it."""
        return (self.rdata,)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFence:
    """A text that begins as a fence does, and that this version cannot read; printable ASCII, cut.

    `version`: what its `v=` says, where that is another than this version writes; "": it is damaged.
    """

    text: str
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose fences are ours: those of this scope and installation.

    `installation` "": we have no id, so a fence with one is another's. None: it is not known; then the scope decides.
    """

    scope: str
    installation: str | None = None

    def owns(self, fence: Fence) -> bool:
        """Whether a fence is ours; without an id it is, by its scope."""
        if fence.scope != self.scope:
            return False
        return not fence.installation or self.installation is None or fence.installation == self.installation


Stranger = Fence | OtherFence
"""What keeps us out of a zone for good: the fence of another scope or installation, or of another version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfenced:
    """What stands at a fence's name where it is no fence that is known: nothing, garbage, or an older one."""

    seen: FenceSeen
    generation: int = 0
    primary: str = ""


Anchor = Fence | Unfenced
"""What a write requires at the fence's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceRecord:
    """A zone's fence as the store has it: the plan that is opened, and the TXT record that stands in the zone.

    The TXT may be of an older plan: one that changes nothing in the zone leaves it as it is. Store
    transactions compare the whole record; DNS transactions require the TXT.
    `slots`: the number of slots that every bucket of the zone's ledger is stored under; 0: not known.
    `primary`: the server that is written to, where a config names several; "": none is chosen.
    """

    generation: int
    plan: str
    slots: int
    txt: Fence
    primary: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "txt", replace(self.txt, primary=self.primary))

    @property
    def scope(self) -> str:
        return self.txt.scope


def raised(fence: Fence, slots: int) -> FenceRecord:
    """Return the record of a fence that is raised in the zone itself, on the server that it names."""
    return FenceRecord(generation=fence.generation, plan=fence.plan, slots=slots, txt=fence, primary=fence.primary)


def raised_over(known: FenceRecord | None, fence: Fence) -> FenceRecord:
    """Return the record of a fence that is raised where another one stood: on the same server."""
    if known is None:
        return raised(fence, 0)
    return replace(raised(fence, known.slots), primary=known.primary or fence.primary)


def parse_fence(seen: FenceSeen) -> Fence | None:
    """Return the fence that stands in a zone, or None where there is none or what is there is garbage.

    Several records, several strings in one record, or any other text is garbage: the
    caller replaces exactly what was read, so no state of a zone can block an open.
    """
    if len(seen) != 1 or not seen[0] or seen[0][0] != len(seen[0]) - 1:
        return None
    return parse_fence_text(seen[0][1:])


def parse_fence_text(text: bytes) -> Fence | None:
    """Return the fence that a TXT record's text stands for, or None where it is garbage."""
    try:
        match = _TEXT.match(text.decode("ascii"))
    except UnicodeDecodeError:
        return None
    if match is None:
        return None
    return Fence(
        scope=match["scope"],
        generation=int(match["generation"]),
        plan=match["plan"],
        installation=match["installation"] or "",
        more=match["more"],
        hold=match["hold"] or "",
    )


def find_stranger(seen: FenceSeen, owner: Owner) -> Stranger | None:
    """Return what stands at a fence's name and is not ours to replace, None where there is no such thing.

    Each record is judged by itself: another's fence stays another's with garbage beside it.
    """
    for rdata in seen:
        text = rdata[1:]
        if not text.startswith(_BEGINS):
            continue
        fence = parse_fence((rdata,))
        if fence is None:
            version = text[2:].split(b" ")[0].decode("ascii", "replace")[:_VERSION_SHOWN]
            shown = "".join(c if " " <= c <= "~" else "?" for c in text.decode("ascii", "replace"))[:_TEXT_SHOWN]
            return OtherFence(text=shown, version="" if version == _VERSION else version)
        if not owner.owns(fence):
            return fence
    return None


def out_of_reach(zone: str, generation: int, newest: int) -> str:
    """Return what is wrong with a zone whose fence is too far above the newest plan, and what ends it, for people."""
    return (
        f"{zone}: its fence stands at generation {generation}, out of reach above the newest plan {newest}; no plan is"
        f" applied there until an operator brings it down: enactorctl fence lower {zone} --reason …"
    )


def describe_fence(zone: str, fence: Stranger, owner: Owner) -> str:
    """Return the fence that keeps an enactor of `owner` out of a zone, and what gives the zone back, for people."""
    if isinstance(fence, OtherFence):
        if fence.version:
            return (
                f"{zone}: fenced by another version of enactord ({fence.text}), and this version reads {_VERSION}:"
                f" start the version that writes {fence.version}"
            )
        return (
            f"{zone}: its fence is damaged ({fence.text}); look who did that, then put a sound one there with:"
            f" enactorctl zone take {zone} --reason …"
        )
    if fence.scope != owner.scope:
        return (
            f"{zone}: fenced by another scope {fence.scope} ({fence.text}); two scopes must not share a zone: take it"
            " out of one of the configs"
        )
    if not owner.owns(fence):
        return (
            f"{zone}: fenced by another installation {fence.installation} ({fence.text}); two installations must not"
            f" share a zone. If that installation is gone, take it over with: enactorctl zone take {zone} --reason …"
        )
    if fence.hold:
        return (
            f"{zone}: fence held by an operator ({fence.hold}); give it back with: enactorctl emergency release {zone}"
        )
    return f"{zone}: fenced by {fence.text}"
