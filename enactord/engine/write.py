"""Writing to a zone: every transaction carries the fence, and every answer is one of three.

A batch that the server refuses does not say what it refused: the fence is read first
(moved: stop), or an update that changes nothing tells whether key and zone are at fault
(then an operator must act); else the batch is halved until the name is alone.
After an unknown answer nothing is written before a read of those names.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from enactord.core.errors import EnactordError, ZoneDown
from enactord.core.events import NarrowingPaused, Retried, ServerNudged, StaleWriteRefused, WriteFinished
from enactord.core.fence import Anchor, Fence, FenceSeen, parse_fence
from enactord.core.records import Change, Committed, Outcome, Reason, Refused, Served, Transaction, Unknown
from enactord.engine.pace import Backoff, Limiter, RetryBudget
from enactord.engine.probing import Ground, Narrowing, Prober
from enactord.engine.run_all import run_all
from enactord.engine.settings import ZonePorts
from enactord.ports import Observer

_ATTEMPTS_MAX = 6
_BACKOFF_FIRST_S = 0.05
_BACKOFF_CAP_S = 2.0
_NUDGE_EVERY_S = 5.0
_FENCE_TTL_MAX_S = 30


class FenceMoved(EnactordError):
    """The zone's fence is not the one that the write carried; `seen` is what stands there."""

    def __init__(self, zone: str, seen: FenceSeen) -> None:
        self.zone = zone
        self.seen = seen
        super().__init__(f"the fence of {zone} has moved")


class ZoneDenied(EnactordError):
    """The server does not accept our updates at all; an operator must act."""


class Fate(StrEnum):
    COMMITTED = "committed"
    CONFLICT = "conflict"
    """The name is not as the change expects: somebody else's records, or a CNAME."""
    REJECTED = "rejected"
    """The server does not take these records."""
    DROPPED = "dropped"
    """The server acknowledged these records, and did not keep them."""
    UNRESOLVED = "unresolved"
    """Not known, or not written: the endpoint stays pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of one change.

    `cut`: what covers the name, in the words of `Served.covered`; committed or not, it is not served.
    `partly`: of what was dropped, a part was kept.
    """

    fate: Fate
    detail: str = ""
    cut: str = ""
    partly: bool = False


COMMITTED = Written(fate=Fate.COMMITTED)


class ZoneWriter:
    """Writes changes to one zone, paced; keeps in mind which names have an unknown write behind them."""

    def __init__(self, ports: ZonePorts, observer: Observer, rng: random.Random, *, timeout_s: float = 5.0) -> None:
        self.ports = ports
        self.name = ports.settings.name
        self.limiter = Limiter(limit_max=ports.settings.in_flight_max, slow_s=timeout_s / 2)
        self.budget = RetryBudget()
        self.prober = Prober(ports, self.limiter)
        self._observer = observer
        self._rng = rng
        self._nudge_at = 0.0
        self._fence_ttl_s = 0
        """That of the last nudge of this enactor: the next one has another, most likely also than another's."""
        self._unknown: dict[str, None] = {}
        self._sending: set[asyncio.Task[Outcome]] = set()

    async def write(
        self, fence: Anchor, changes: Sequence[Change], narrowing: Narrowing | None = None
    ) -> dict[str, Written]:
        """Write all changes under the fence; returns the fate of each name.

        `narrowing`: the messages that are left for finding refused names; what is beyond stays open.

        Raises `FenceMoved` as soon as any answer shows it (what is still under way is
        cancelled, and its names are read before they are written again), `ZoneDenied`.
        """
        return await self._all(changes, partial(self._batch, fence, narrowing or Narrowing()))

    async def write_once(self, fence: Anchor, changes: Sequence[Change]) -> dict[str, Written]:
        """Send all changes once, and none of them again whatever becomes of it; returns the fate of each name.

        All names of a batch that is refused share its fate. Raises as `write` does.
        """
        return await self._all(changes, partial(self._once, fence))

    async def nudge(self, fence: Fence, names: int) -> bool:
        """Write the fence anew as it stands, with another TTL, so that the zone's serial rises; False: too soon.

        `names`: so many are held by the server, and served as before. Whoever else raises the fence is first.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._nudge_at:
            return False
        self._nudge_at = loop.time() + _NUDGE_EVERY_S
        self._fence_ttl_s = (self._fence_ttl_s or self._rng.randrange(_FENCE_TTL_MAX_S)) % _FENCE_TTL_MAX_S + 1
        self._observer.observe(ServerNudged(zone=self.name, names=names))
        transaction = Transaction(
            fence_seen=fence.seen, fence_after=fence, primary=fence.primary, fence_ttl_s=self._fence_ttl_s
        )
        async with self.limiter:
            await self.ports.zone.write(transaction)
        return True

    async def _all(
        self, changes: Sequence[Change], send: Callable[[Sequence[Change]], Coroutine[Any, Any, dict[str, Written]]]
    ) -> dict[str, Written]:
        """Send changes by the batch, side by side."""
        size = self.ports.settings.batch_names_max
        batches = [changes[start : start + size] for start in range(0, len(changes), size)]
        fates: dict[str, Written] = {}
        for written in await run_all(send(batch) for batch in batches):
            fates.update(written)
        assert len(fates) == len(changes), (len(fates), len(changes))
        return fates

    async def _once(self, fence: Anchor, batch: Sequence[Change]) -> dict[str, Written]:
        fates: dict[str, Written] = {}
        written = Written(fate=Fate.UNRESOLVED)
        if self._doubted(batch):
            fates = await self._read_back(fence, batch)
        else:
            match await self._send(fence, batch):
                case Committed():
                    self.budget.deposit()
                    written = COMMITTED
                case Refused(reason=Reason.CONDITION, detail=detail):
                    written = await self._refused(fence, batch, detail)
                case Refused(reason=Reason.BUSY, detail=detail):
                    written = Written(fate=Fate.UNRESOLVED, detail=detail)
                case Refused() as refused:
                    why = await self._content_refused(fence, batch, refused)
                    written = Written(fate=Fate.UNRESOLVED if why else Fate.REJECTED, detail=why or _told(refused))
                case Unknown(detail=detail, answered=answered):
                    written = Written(fate=Fate.UNRESOLVED, detail=detail)
                    fates = await self._read_back(fence, batch)
                    if answered and not self._doubted(batch):
                        why = await self._content_refused(fence, batch, None)
                        written = written if why else Written(fate=Fate.REJECTED, detail=_answered(detail))
        return {change.name: fates.get(change.name, written) for change in batch}

    async def _refused(self, fence: Anchor, batch: Sequence[Change], detail: str) -> Written:
        """Tell a refusal by the fence, which is raised as `FenceMoved`, from one by a name."""
        try:
            await self._check_fence(fence, batch)
        except ZoneDown as error:
            return Written(fate=Fate.UNRESOLVED, detail=str(error))
        return Written(fate=Fate.CONFLICT, detail=detail)

    async def _content_refused(self, fence: Anchor, batch: Sequence[Change], refused: Refused | None) -> str:
        """Tell a refusal of a message's content, "", from one of key or zone, raised as `ZoneDenied`.

        Returns why that could not be told now. `refused` None: the server said that it failed.
        Without an answer of a server's, no message was sent: it was too large.
        """
        if refused is not None and refused.reason is Reason.CONTENT and not refused.answer:
            return ""
        standing = await self.prober.ground(fence)
        match standing.ground:
            case Ground.FINE:
                return ""
            case Ground.DENIED if refused is not None:
                raise ZoneDenied(f"{self.name}: {standing.detail}")
            case Ground.MOVED:
                written = await self._refused(fence, batch, standing.detail)
                return f"the fence was not as read: {written.detail}"
            case _:
                return standing.detail or "the server did not answer"

    async def _batch(self, fence: Anchor, narrowing: Narrowing, batch: Sequence[Change]) -> dict[str, Written]:
        doubtful = [change for change in batch if change.name in self._unknown]
        if doubtful:
            fates = await self._read_back(fence, doubtful)
            rest = [change for change in batch if change.name not in fates]
            return fates | (await self._try(fence, narrowing, rest) if rest else {})
        return await self._try(fence, narrowing, batch)

    async def _try(self, fence: Anchor, narrowing: Narrowing, batch: Sequence[Change]) -> dict[str, Written]:
        backoff = Backoff(self._rng, first_s=_BACKOFF_FIRST_S, cap_s=_BACKOFF_CAP_S)
        fates: dict[str, Written] = {}
        left = batch
        detail = ""
        for _ in range(_ATTEMPTS_MAX):
            outcome = await self._send(fence, left)
            match outcome:
                case Committed():
                    self.budget.deposit()
                    return fates | {change.name: COMMITTED for change in left}
                case Refused(reason=Reason.CONDITION, detail=detail):
                    written = await self._refused(fence, left, detail)
                    if written.fate is Fate.UNRESOLVED:
                        return fates | {change.name: written for change in left}
                    return fates | await self._narrow(fence, narrowing, left, written)
                case Refused(reason=Reason.BUSY, detail=detail):
                    pass
                case Refused() as refused:
                    detail = await self._content_refused(fence, left, refused)
                    if not detail:
                        rejected = Written(fate=Fate.REJECTED, detail=_told(refused))
                        return fates | await self._narrow(fence, narrowing, left, rejected)
                case Unknown(detail=detail, answered=answered):
                    fates |= await self._read_back(fence, left)
                    left = [change for change in left if change.name not in fates]
                    if not left:
                        return fates
                    # A server that fails at names of which it was read not to have done anything, and at nothing
                    # else, does not take them.
                    if answered and not self._doubted(left) and not await self._content_refused(fence, left, None):
                        rejected = Written(fate=Fate.REJECTED, detail=_answered(detail))
                        return fates | await self._narrow(fence, narrowing, left, rejected)
            if not self.budget.spend():
                break
            delay_s = backoff.next_s()
            self._observer.observe(Retried(target=self.name, detail=detail, delay_s=delay_s))
            await asyncio.sleep(delay_s)
            if self._doubted(left):
                fates |= await self._read_back(fence, left)
                left = [change for change in left if change.name not in fates]
                if self._doubted(left):
                    continue  # still not readable: nothing may be written
                if not left:
                    return fates
        return fates | {change.name: Written(fate=Fate.UNRESOLVED, detail=detail) for change in left}

    async def _send(self, fence: Anchor, batch: Sequence[Change]) -> Outcome:
        """Send one transaction. Cancelled meanwhile, it is not forgotten: its answer is still awaited and counted."""
        sending = asyncio.create_task(self._transact(fence, batch))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            self._doubt(batch)
            sending.add_done_callback(lambda done: self._note_late(fence, batch, done))
            raise

    async def _transact(self, fence: Anchor, batch: Sequence[Change]) -> Outcome:
        loop = asyncio.get_running_loop()
        async with self.limiter:
            if self._doubted(batch):  # asked here: another write of them may have ended so while this one waited
                return Unknown(detail="an earlier write of these names is not resolved yet")
            start = loop.time()
            transaction = Transaction(fence_seen=fence.seen, changes=batch, primary=fence.primary)
            outcome = await self.ports.zone.write(transaction)
            duration_s = loop.time() - start
        match outcome:
            case Unknown(detail=detail, answered=answered):
                self._doubt(batch)
                if not answered:  # a server that says that it fails is not slow; whether it is sick, a probe tells
                    self.limiter.failed()
                word = "unknown"
            case Refused(reason=reason, detail=detail):
                word = "refused"
                if reason is Reason.BUSY:
                    self.limiter.failed()
            case Committed():
                word, detail = "committed", ""
                self.limiter.succeeded(duration_s)
        self._observer.observe(
            WriteFinished(
                zone=self.name,
                generation=fence.generation,
                names=len(batch),
                outcome=word,  # type: ignore[arg-type]
                detail=detail,
                duration_s=duration_s,
            )
        )
        return outcome

    def _note_late(self, fence: Anchor, batch: Sequence[Change], done: asyncio.Task[Outcome]) -> None:
        """A write whose plan was given up has got its answer: a refusal means that the fence has moved on."""
        if done.cancelled() or done.exception() is not None:
            return
        outcome = done.result()
        if isinstance(outcome, Refused) and outcome.reason is Reason.CONDITION:
            self._observer.observe(
                StaleWriteRefused(
                    zone=self.name, generation=fence.generation, fence="above, when it arrived", names=len(batch)
                )
            )

    async def close(self) -> None:
        """Stop waiting for answers."""
        for sending in list(self._sending):
            sending.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _narrow(
        self, fence: Anchor, narrowing: Narrowing, batch: Sequence[Change], refused: Written
    ) -> dict[str, Written]:
        """Find which names of a refused batch the server refuses: by halves, until each is alone."""
        if len(batch) == 1:
            return {batch[0].name: await self._alone(fence, batch[0], refused)}
        if not narrowing.spend(2):
            if not narrowing.told:
                narrowing.told = True
                self._observer.observe(
                    NarrowingPaused(zone=self.name, generation=fence.generation, detail=refused.detail)
                )
            waiting = Written(
                fate=Fate.UNRESOLVED, detail=f"refused with others, and not told from them yet: {refused.detail}"
            )
            return {change.name: waiting for change in batch}
        middle = len(batch) // 2
        first = await self._try(fence, narrowing, batch[:middle])
        return first | await self._try(fence, narrowing, batch[middle:])

    async def _alone(self, fence: Anchor, change: Change, refused: Written) -> Written:
        """Find out why one name is refused."""
        served: Served | None = None
        with contextlib.suppress(ZoneDown):
            served = (await self.prober.read(fence, [change.name])).get(change.name)
        if served is not None and served.covered:
            return Written(fate=Fate.CONFLICT, detail=covered_detail(served.covered), cut=served.covered)
        if refused.fate is Fate.REJECTED:
            return refused
        if served is None:
            return Written(fate=Fate.UNRESOLVED, detail="refused, and could not be read")
        if served.shows(change.after):
            return COMMITTED  # an earlier write of ours, re-sent, had landed
        return Written(fate=Fate.CONFLICT, detail=f"the zone holds {', '.join(served.texts()) or 'nothing'}")

    async def _read_back(self, fence: Anchor, batch: Sequence[Change]) -> dict[str, Written]:
        """Resolve an unknown write: names that serve what was to be written are committed.

        The others are not written, or not yet: a copy that arrives late carries the same
        fence, hence the same content, and is refused once the fence moves.
        """
        try:
            await self._check_fence(fence, batch)
            served = await self.ports.zone.read([change.name for change in batch])
        except ZoneDown:
            return {}
        fates = {}
        for change in batch:
            answer = served.get(change.name)
            if answer is not None:
                self._unknown.pop(change.name, None)
                if answer.shows(change.after):
                    fates[change.name] = COMMITTED
        return fates

    async def _check_fence(self, fence: Anchor, batch: Sequence[Change]) -> None:
        seen = await self.ports.zone.read_fence()
        if seen == fence.seen:
            return
        found = parse_fence(seen)
        if found is not None and found.generation > fence.generation:
            self._observer.observe(
                StaleWriteRefused(zone=self.name, generation=fence.generation, fence=found.text, names=len(batch))
            )
        raise FenceMoved(self.name, seen)

    def _doubted(self, batch: Sequence[Change]) -> bool:
        return any(change.name in self._unknown for change in batch)

    def _doubt(self, batch: Sequence[Change]) -> None:
        for change in batch:
            self._unknown[change.name] = None


def covered_detail(cut: str) -> str:
    """Return why a name is not served, for people."""
    return f"covered by {cut}: the zone does not answer for what is below; put the name where it does, or remove that"


def dropped_detail(there: Served) -> str:
    """Return why a name that was acknowledged is not served, for people."""
    holds = ", ".join(there.texts()) or "nothing"
    return f"the server answered success and did not keep the records: the zone holds {holds}"


def _told(refused: Refused) -> str:
    """Return the server's own answer about a name, for people."""
    return _answered(refused.answer) if refused.answer else refused.detail


def _answered(answer: str) -> str:
    return (
        f"the server answers {answer} to this name, and takes updates without it: see what the server's"
        " update policy, its rules for names and its limits say of the name"
    )
