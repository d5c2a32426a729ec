"""Reading back what was written: seen on every verify server, or not served for a reason that the server itself tells.

A server may acknowledge an update and leave records out in silence, or hold them below a
cut, where it does not answer for them. Only the word of the zone's own server counts for
that: a verify server may lag, and the server's answers, too (a signed copy of a zone comes
later), but not what its prerequisites see.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass

from enactord.core.errors import ZoneDown
from enactord.core.fence import Fence
from enactord.core.records import Records, Requirement, Served
from enactord.engine.probing import Narrowing
from enactord.engine.settings import ZonePorts
from enactord.engine.verifier import Shows, seen_served
from enactord.engine.write import Fate, Written, ZoneWriter, covered_detail, dropped_detail


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What became of records that were acknowledged: seen on every server, or why the zone does not serve them."""

    seen: set[str]
    unserved: Mapping[str, Written]


async def read_back(
    ports: ZonePorts,
    writer: ZoneWriter,
    fence: Fence,
    wanted: Mapping[str, Records],
    before: Callable[[str], Sequence[Records]],
    *,
    timeout_s: float,
    rng: random.Random,
    narrowing: Narrowing,
    left_out: Collection[str] = (),
    shows: Shows = Served.shows,
) -> ReadBack:
    """Wait until every verify server shows what is wanted, but for names that the zone's server does not serve.

    `before` says what a name may have held until then. Where what stands there now is neither that
    nor what was written, somebody else was there since, and nothing was dropped. `left_out`: verify servers
    that are not waited for. `shows`: whether an answer counts as what is wanted.
    """
    judge = _Judge(ports, writer, fence, wanted, before, narrowing)
    verifiers = [verifier for verifier in ports.verifiers if verifier.server not in left_out]
    seen = await seen_served(verifiers, wanted, timeout_s=timeout_s, rng=rng, given_up=judge.given_up, shows=shows)
    return ReadBack(seen=seen - judge.unserved.keys(), unserved=judge.unserved)


_NUDGE_AFTER_S = 0.5
"""How long the server may hold what was written and serve what was before, until it is nudged."""
_QUESTIONS_MAX = 3
"""How often a name is asked about: a message that is lost must not decide what is entered of it."""


class _Judge:
    """Asks the zone's own server about names that a verify server does not show, until it has told."""

    def __init__(
        self,
        ports: ZonePorts,
        writer: ZoneWriter,
        fence: Fence,
        wanted: Mapping[str, Records],
        before: Callable[[str], Sequence[Records]],
        narrowing: Narrowing,
    ) -> None:
        self.unserved: dict[str, Written] = {}
        self._ports = ports
        self._writer = writer
        self._prober = writer.prober
        self._nudge_at = asyncio.get_running_loop().time() + _NUDGE_AFTER_S
        self._fence = fence
        self._wanted = wanted
        self._before = before
        self._narrowing = narrowing
        self._asked: Counter[str] = Counter()
        self._told: dict[str, None] = {}
        self._gone: dict[str, None] = {}
        self._late: dict[str, None] = {}
        """Names whose records the server holds, and did not show when it was asked."""
        self._asking = asyncio.Lock()

    async def given_up(self, names: Sequence[str]) -> Set[str]:
        """Return those of the names that need no more waiting."""
        async with self._asking:
            open_ = [name for name in names if name not in self._told and self._asked[name] < _QUESTIONS_MAX]
            if open_:
                await self._ask(open_)
            await self._nudge([name for name in names if name in self._late])
        return {name for name in names if name in self.unserved or name in self._gone}

    async def _nudge(self, names: Sequence[str]) -> None:
        """Have the zone change once more where its own server still shows what was before."""
        loop = asyncio.get_running_loop()
        if not names or loop.time() < self._nudge_at:
            return
        self._nudge_at = loop.time() + _NUDGE_AFTER_S
        try:
            served = await self._ports.zone.read(names)
        except ZoneDown:
            return
        late = [name for name, answer in served.items() if not answer.shows_but_for_ttl(self._wanted[name])]
        if late:
            await self._writer.nudge(self._fence, len(late))

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
        self._late.update((name, None) for name, held in kept.items() if held)
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
