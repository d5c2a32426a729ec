"""Updates that change nothing, and what they tell where a question or a refusal cannot.

A refusal does not say whether the server minds the key, the zone or one name of the
message: an update of the fence's prerequisite alone tells. A question does not say whether
an answer is a name's own, a wildcard's, or of a copy that lags: a prerequisite does.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from enactord.core.fence import Anchor
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
from enactord.engine.pace import Limiter
from enactord.engine.settings import ZonePorts

_FRESH_S = 1.0
"""How long an answer about key and zone is shared: a storm of refusals must not cost a storm of probes."""
NARROW_MESSAGES_MAX = 4_096
"""Messages of one pass over a plan, in one zone, that only find out which names the server refuses."""
_REQUIREMENTS_MAX = 100


class Ground(StrEnum):
    """Whether a server takes updates of our key in a zone at all."""

    FINE = "fine"
    MOVED = "moved"
    """It does, but the fence is not ours."""
    DENIED = "denied"
    SILENT = "silent"
    """It did not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The end of a probe; `detail` says why, for people, where the ground is not fine."""

    ground: Ground
    detail: str = ""


@dataclass(slots=True)
class Narrowing:
    """What is left of the messages that may look for refused names, in one pass and one zone."""

    left: int = NARROW_MESSAGES_MAX
    told: bool = False

    def spend(self, messages: int = 1) -> bool:
        """Take messages from what is left; False where there are not as many."""
        if self.left < messages:
            return False
        self.left -= messages
        return True


class Prober:
    """Probes one zone of one server."""

    def __init__(self, ports: ZonePorts, limiter: Limiter) -> None:
        self._zone = ports.zone
        self._apex = ports.settings.name
        self._limiter = limiter
        self._asking = asyncio.Lock()
        self._known: tuple[Anchor, Standing, float] | None = None

    async def ground(self, fence: Anchor) -> Standing:
        """Tell whether an update under the fence that changes nothing is taken; shared for `_FRESH_S`."""
        loop = asyncio.get_running_loop()
        async with self._asking:
            known = self._known
            if known is not None and known[0] == fence and known[0].primary == fence.primary and loop.time() < known[2]:
                return known[1]
            standing = _standing(await self._send(Transaction(fence_seen=fence.seen, primary=fence.primary)))
            self._known = (fence, standing, loop.time() + _FRESH_S)
            return standing

    async def holding(
        self, fence: Anchor, required: Sequence[Requirement], narrowing: Narrowing | None = None
    ) -> dict[str, bool]:
        """Tell of each name whether exactly the records required stand at it, by halves.

        What is left out is not known: the fence has moved, the server does not say, or the messages are used up.
        """
        narrowing = narrowing or Narrowing()
        found: dict[str, bool] = {}
        left = [required[start : start + _REQUIREMENTS_MAX] for start in range(0, len(required), _REQUIREMENTS_MAX)]
        while left and narrowing.spend():
            some = left.pop()
            match await self._send(Transaction(fence_seen=fence.seen, requires=some, primary=fence.primary)):
                case Committed():
                    found.update((one.name, True) for one in some)
                case Refused(reason=Reason.CONDITION | Reason.CONTENT) if len(some) > 1:
                    middle = len(some) // 2
                    left += [some[middle:], some[:middle]]
                case Refused(reason=Reason.CONDITION):
                    if (await self.ground(fence)).ground is not Ground.FINE:
                        return found
                    found[some[0].name] = False
                case _:
                    pass
        return found

    async def read(self, fence: Anchor, names: Sequence[str]) -> dict[str, Served]:
        """Read names, with what is a wildcard's told apart. Raises `ZoneDown`."""
        return await self.own(fence, await self._zone.read(names))

    async def own(
        self, fence: Anchor, served: Mapping[str, Served], narrowing: Narrowing | None = None
    ) -> dict[str, Served]:
        """Return the answers with those of wildcards told apart: for such a name, nothing is its own.

        Only an answer that is a wildcard's word for word is probed. Raises `ZoneDown`.
        """
        stars = {
            name: [f"*.{above}" for above in _above(name, self._apex)]
            for name, answer in served.items()
            if not answer.covered and not answer.empty and not name.startswith("*.")
        }
        asked = sorted({star for some in stars.values() for star in some})
        answers = await self._zone.read(asked) if asked else {}
        perhaps = [
            Requirement(name=name, records=NO_RECORDS)
            for name, some in stars.items()
            if any(answers.get(star) == served[name] for star in some)
        ]
        bare = await self.holding(fence, perhaps, narrowing) if perhaps else {}
        return dict(served) | {name: Served(records=NO_RECORDS) for name, vacant in bare.items() if vacant}

    async def _send(self, transaction: Transaction) -> Outcome:
        async with self._limiter:
            return await self._zone.write(transaction)


def _standing(outcome: Outcome) -> Standing:
    match outcome:
        case Committed():
            return Standing(ground=Ground.FINE)
        case Refused(reason=Reason.CONDITION, detail=detail):
            return Standing(ground=Ground.MOVED, detail=detail)
        case Refused(reason=Reason.BUSY, detail=detail) | Unknown(detail=detail):
            return Standing(ground=Ground.SILENT, detail=detail)
        case Refused(detail=detail):
            return Standing(ground=Ground.DENIED, detail=f"{detail} (an update that changes nothing is refused, too)")


def _above(name: str, apex: str) -> list[str]:
    """Return the names between a name and its zone's, that one included."""
    found = []
    while name != apex and "." in name:
        name = name.partition(".")[2]
        found.append(name)
    return found
