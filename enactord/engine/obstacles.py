"""What keeps a zone from serving a name: somebody else's records, a cut above the name, or the server's own no.

Names that are held for it are looked at before they are tried again: enactors that each
tried, marked and held such a name again would wake one another for ever.
"""

from collections.abc import Callable, Iterable

from enactord.core.diff import Kind, Step
from enactord.core.errors import ZoneDown
from enactord.core.fence import Fence
from enactord.core.ledger import Hold
from enactord.core.records import Expect, Records, Served
from enactord.core.refusal import COVERED, FOREIGN, SERVER, ZONE_GUARDS, Refusal
from enactord.engine.retries import Retries
from enactord.engine.write import ZoneWriter, covered_detail

_TRIED = (Kind.WRITE, Kind.REMOVE, Kind.SETTLE)


async def still_held(
    writer: ZoneWriter, fence: Fence, retries: Retries, steps: Iterable[Step], wanted: Callable[[Step], Records]
) -> dict[str, Step]:
    """Return, as steps that hold, those whose names the zone still stands in the way of, or whose turn is not yet.

    `wanted` says what a step would write.
    """
    held: dict[str, Step] = {}
    looked_at: list[Step] = []
    for step in steps:
        hold = None if step.entry is None else step.entry.held
        if hold is None or hold.guard not in ZONE_GUARDS or step.kind not in _TRIED:
            continue
        if step.entry is not None and step.entry.pending is not None:
            continue  # begun: what it came to must be found out
        if step.kind is not Kind.SETTLE and not retries.due(step.name, step.content, step.expect):
            held[step.name] = _held(step, hold.guard, hold.detail)
        elif _looks_first(step, hold):
            looked_at.append(step)
    if not looked_at:
        return held
    try:
        served = await writer.prober.read(fence, [step.name for step in looked_at])
    except ZoneDown:
        return held  # the write will tell
    for step in looked_at:
        answer = served.get(step.name)
        assert step.entry is not None
        assert step.entry.held is not None
        if answer is not None and answer.covered:
            held[step.name] = _held(step, COVERED, covered_detail(answer.covered))
        elif answer is not None and _taken(step, answer, wanted(step)):
            held[step.name] = _held(step, FOREIGN, step.entry.held.detail)
        elif answer is not None and step.kind is Kind.SETTLE and not _served(step, answer):
            held[step.name] = _held(step, step.entry.held.guard, step.entry.held.detail)
    return held


def _looks_first(step: Step, hold: Hold) -> bool:
    """Whether a look can tell that the obstacle stands; a removal deletes what is ours whatever covers it."""
    if hold.guard == COVERED:
        return step.kind is not Kind.REMOVE
    if hold.guard == SERVER:
        return step.kind is Kind.SETTLE and step.entry is not None and step.entry.good != step.entry.applied
    return hold.guard == FOREIGN and step.kind is Kind.WRITE and step.expect is Expect.NEW


def _taken(step: Step, answer: Served, wanted: Records) -> bool:
    """Whether a new name is somebody else's; what serves the plan already can be entered as ours."""
    return step.expect is Expect.NEW and not answer.empty and not answer.shows(wanted)


def _served(step: Step, answer: Served) -> bool:
    """Whether what a settled name has applied is served."""
    assert step.entry is not None
    assert step.entry.applied is not None
    return answer.shows(step.entry.applied.records(step.name))


def _held(step: Step, guard: str, detail: str) -> Step:
    return step._replace(kind=Kind.HOLD, refusal=Refusal(guard=guard, detail=detail))


def has_left(hold: Hold, answer: Served) -> bool:
    """Whether what a name is held for is seen to be gone."""
    if hold.guard == COVERED:
        return not answer.covered
    return hold.guard == FOREIGN and answer.empty
