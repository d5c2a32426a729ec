"""Reading back what was written: seen on every verify server, or not served for a reason that the server itself tells.

A server may acknowledge an update and leave records out in silence, or hold them below a
cut, where it does not answer for them. Only the word of the zone's own server counts for
that: a verify server may lag, and the server's answers, too (a signed copy of a zone comes
later), but not what its prerequisites see.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from enactord.core.errors import ZoneDown
from enactord.core.fence import Fence
from enactord.core.records import Records, Requirement, Served
from enactord.engine.probing import Narrowing, Prober
from enactord.engine.settings import ZonePorts
from enactord.engine.verifier import seen_served
from enactord.engine.writer import Fate, Written, covered_detail, dropped_detail


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What became of records that were acknowledged: seen on every server, or why the zone does not serve them."""

    seen: set[str]
    unserved: Mapping[str, Written]


async def read_back(
    ports: ZonePorts,
    prober: Prober,
    fence: Fence,
    wanted: Mapping[str, Records],
    before: Callable[[str], Sequence[Records]],
    *,
    timeout_s: float,
    rng: random.Random,
    narrowing: Narrowing,
) -> ReadBack:
    """Wait until every verify server shows what is wanted, but for names that the zone's server does not serve.

    `before` says what a name may have held until then. Where what stands there now is neither that
    nor what was written, somebody else was there since, and nothing was dropped.
    """
    judge = _Judge(ports, prober, fence, wanted, before, narrowing)
    seen = await seen_served(ports.verifiers, wanted, timeout_s=timeout_s, rng=rng, given_up=judge.given_up)
    return ReadBack(seen=seen - judge.unserved.keys(), unserved=judge.unserved)


_QUESTIONS_MAX = 3
"""How often a name is asked about: a message that is lost must not decide what is entered of it."""


class _Judge:
    """Asks the zone's own server about names that a verify server does not show, until it has told."""

    def __init__(
        self,
        ports: ZonePorts,
        prober: Prober,
        fence: Fence,
        wanted: Mapping[str, Records],
        before: Callable[[str], Sequence[Records]],
        narrowing: Narrowing,
    ) -> None:
        self.unserved: dict[str, Written] = {}
        self._ports = ports
        self._prober = prober
        self._fence = fence
        self._wanted = wanted
        self._before = before
        self._narrowing = narrowing
        self._asked: Counter[str] = Counter()
        self._told: dict[str, None] = {}
        self._gone: dict[str, None] = {}
        self._asking = asyncio.Lock()

    async def given_up(self, names: Sequence[str]) -> Set[str]:
        """Return those of the names that need no more waiting."""
        async with self._asking:
            open_ = [name for name in names if name not in self._told and self._asked[name] < _QUESTIONS_MAX]
            if open_:
                await self._ask(open_)
        return {name for name in names if name in self.unserved or name in self._gone}

    async def _ask(self, names: Sequence[str]) -> None:
        try:
            served = await self._ports.zone.read(names)
        except ZoneDown:
            return
        doubtful: dict[str, Served] = {}
        for name, answer in served.items():
            self._asked[name] += 1
            if answer.covered and not self._wanted[name].empty:  # a removal is told by what the zone holds
                self._told[name] = None
                self.unserved[name] = Written(
                    fate=Fate.COMMITTED, detail=covered_detail(answer.covered), cut=answer.covered
                )
            elif not answer.shows(self._wanted[name]):
                doubtful[name] = answer
        required = [Requirement(name=name, records=self._wanted[name]) for name in sorted(doubtful)]
        kept = await self._prober.holding(self._fence, required, self._narrowing)
        self._gone.update((name, None) for name, held in kept.items() if held and self._wanted[name].empty)
        self._told.update((name, None) for name, held in kept.items() if held)
        lost = {name: doubtful[name] for name, held in kept.items() if not held}
        if not lost:
            return
        try:
            own = await self._prober.own(self._fence, lost, self._narrowing)
        except ZoneDown:
            return
        for name, answer in own.items():
            if self._was_dropped(name, answer):
                self._told[name] = None
                detail = dropped_detail(answer)
                self.unserved[name] = Written(fate=Fate.DROPPED, detail=detail, partly=not answer.empty)

    def _was_dropped(self, name: str, answer: Served) -> bool:
        """Whether each RRset is the one before or the one written, and not all of them are the latter."""
        if answer.alias is not None or answer.records.addresses == self._wanted[name].addresses:
            return False
        known = [*self._before(name), self._wanted[name]]
        return any(answer.records.a == records.a for records in known) and any(
            answer.records.aaaa == records.aaaa for records in known
        )
