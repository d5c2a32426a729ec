"""Break-glass: what an operator does to a zone with every daemon stopped and the store gone.

Each act is one update of the DNS server, compared with the fence as it was read, that
raises the zone's fence with it: no write of an enactor that is on its way can land, and
none that wakes up later gets in until the zone is given back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from enactord.core.errors import ZoneDown
from enactord.core.fence import (
    FENCE_MAX,
    HOLD_MAX,
    NO_PLAN,
    Fence,
    OtherFence,
    Owner,
    describe_fence,
    find_stranger,
    parse_fence,
)
from enactord.core.records import NO_RECORDS, Change, Committed, Reason, Records, Refused, Served, Transaction, Unknown
from enactord.core.refusal import Refusal
from enactord.engine.raise_fence import describe
from enactord.engine.settings import ZonePorts
from enactord.engine.write import ZoneDenied
from enactord.operations.scope import Denied

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A zone whose fence an operator raised: what stood there, what does now, and what a name was and is."""

    zone: str
    before: str
    fence: Fence
    name: str = ""
    was: Served | None = None
    served: Served | None = None

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "zone": self.zone,
            "before": self.before,
            "fence": self.fence.text,
            "generation": self.fence.generation,
            "held": self.fence.hold or None,
        }
        if self.name:
            document |= {"name": self.name, "was": _texts(self.was), "served": _texts(self.served)}
        return document


def hold_text(author: str, reason: str) -> str:
    """Return who holds a zone and why, as a fence can carry it: printable ASCII, cut to its limit."""
    text = f"{author}: {reason}" if reason else author
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:HOLD_MAX]


async def set_records(ports: ZonePorts, owner: Owner, name: str, records: Records, hold: str) -> Taken | Denied:
    """Make a name serve exactly these addresses, and hold the zone. Raises `ZoneDown`, `ZoneDenied`."""
    was = (await ports.zone.read([name])).get(name)
    if was is not None and was.alias is not None:
        detail = f"{name} is an alias to {was.alias}: remove the CNAME by the means of your DNS server first"
        return Denied(refusals=(Refusal(guard="alias", detail=detail),))
    done = await raise_by_hand(ports, owner, hold, [Change(name=name, after=records)])
    if isinstance(done, Denied):
        return done
    served = (await ports.zone.read([name])).get(name)
    return Taken(zone=done.zone, before=done.before, fence=done.fence, name=name, was=was, served=served)


async def seal(ports: ZonePorts, owner: Owner, hold: str) -> Taken | Denied:
    """Hold a zone as it is. Raises `ZoneDown`, `ZoneDenied`."""
    return await raise_by_hand(ports, owner, hold)


async def release(ports: ZonePorts, owner: Owner) -> Taken | Denied:
    """Give a zone back: enactors open it above the generation that it has then. Raises `ZoneDown`, `ZoneDenied`."""
    found = parse_fence(await ports.zone.read_fence())
    if found is None or not found.hold:
        stands = "nothing" if found is None else found.text
        detail = f"no operator holds {ports.settings.name}: its fence is {stands}"
        return Denied(refusals=(Refusal(guard="not_held", detail=detail),))
    return await raise_by_hand(ports, owner, "")


async def raise_by_hand(ports: ZonePorts, owner: Owner, hold: str, changes: Sequence[Change] = ()) -> Taken | Denied:
    """Put a fence above the one that stands, with the changes, in one update; `hold`: who keeps all others out.

    Where our installation's id is not known, the id that stands is kept.
    """
    zone = ports.settings.name
    before = ""
    last = ""
    tried: list[Fence] = []
    for _ in range(_ATTEMPTS):
        seen = await ports.zone.read_fence()
        for fence in tried:
            if seen == fence.seen:  # an update without an answer has landed
                return Taken(zone=zone, before=before, fence=fence)
        stranger = find_stranger(seen, owner)
        damaged = isinstance(stranger, OtherFence) and not stranger.version  # which a person may replace
        if stranger is not None and not damaged:
            detail = describe_fence(zone, stranger, owner)
            return Denied(refusals=(Refusal(guard="identity", detail=detail),))
        found = parse_fence(seen)
        before = describe(seen)
        above = min((found.generation if found else 0) + 1, FENCE_MAX)
        installation = owner.installation or (found.installation if found else "")
        fence = Fence(scope=owner.scope, generation=above, plan=NO_PLAN, installation=installation, hold=hold)
        match await ports.zone.write(Transaction(fence_seen=seen, fence_after=fence, changes=changes)):
            case Committed():
                return Taken(zone=zone, before=before, fence=fence)
            case Refused(reason=Reason.DENIED | Reason.CONTENT, detail=detail):
                raise ZoneDenied(f"{zone}: {detail}")
            case Refused(detail=detail):
                last = detail
            case Unknown(detail=detail):
                last = detail
                tried.append(fence)
    raise ZoneDown(f"{zone}: nothing was changed for certain in {_ATTEMPTS} attempts; the last one: {last}")


def _texts(answer: Served | None) -> list[str]:
    records = NO_RECORDS if answer is None else answer.records
    return list(records.texts())
