"""Plan against ledger, one bucket at a time: what is to be done for each name.

wanted     ledger                     does
---------  -------------------------  -------------------------------------------------
any        pending (or refused by     resolve: read the name; only then is it known
           the zone), not owned,      whether the earlier write made it ours
           of an older generation
any        pending many times over    resolve
refused    pending                    resolve: what is served is applied, or drifted
content    nothing, or not owned      write as new (no A, no AAAA may be there), or hold
content    owned, same content        nothing; settle if it was held
content    owned, other content       write, or hold
content    pending (owned)            write, always: its state is unknown
nothing    owned, or pending          remove
nothing    not owned, held            forget
nothing    nothing                    nothing
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from enactord.core.content import Content, parse_content
from enactord.core.guards import Limits, judge_endpoint
from enactord.core.ledger import EARLIER_MAX, REMOVAL, Entry, Outlived, with_outlived
from enactord.core.records import Expect
from enactord.core.refusal import Refusal
from enactord.core.render import ANSWERS_MAX


class Kind(StrEnum):
    WRITE = "write"
    REMOVE = "remove"
    HOLD = "hold"
    SETTLE = "settle"
    FORGET = "forget"
    RESOLVE = "resolve"


class Step(NamedTuple):
    """What is to be done for one name.

    `content` is the wanted canonical text ("-": removal), `parsed` the same for a WRITE;
    `refusal` says why for a HOLD.
    """

    name: str
    kind: Kind
    entry: Entry | None
    content: str = REMOVAL
    parsed: Content | None = None
    expect: Expect = Expect.OWNED
    refusal: Refusal | None = None


def conforms(wanted: Mapping[str, str], entries: Mapping[str, Entry]) -> bool:
    """Whether `diff_bucket` would find nothing at all to do, found without judging anything."""
    if len(wanted) != len(entries):
        return False
    for name, content in wanted.items():
        entry = entries.get(name)
        if entry is None or entry.held is not None or not _has(entry, content):
            return False
    return True


def _has(entry: Entry, content: str) -> bool:
    """Whether the content is applied for certain."""
    certain = entry.pending is None and not entry.earlier
    return certain and entry.applied is not None and entry.applied.content == content


def covers(approved: bool | frozenset[str], name: str) -> bool:
    """Whether an approval, of a whole plan or of some names, is of one endpoint."""
    return approved if isinstance(approved, bool) else name in approved


def diff_bucket(
    wanted: Mapping[str, str],
    entries: Mapping[str, Entry],
    *,
    generation: int,
    limits: Limits,
    now: float,
    approved: bool | frozenset[str],
    answers_max: int = ANSWERS_MAX,
    outlived: Mapping[str, Outlived] = {},
) -> list[Step]:
    """Return the steps that bring a bucket's ledger to the wanted contents, sorted by name.

    `outlived`: what is known of names that come back.
    """
    steps = []
    for name, content in wanted.items():
        entry = entries.get(name)
        if entry is not None and _has(entry, content):
            if entry.held is not None:
                steps.append(Step(name=name, kind=Kind.SETTLE, entry=entry, content=content))
            continue
        back = outlived.get(name)
        steps.append(_wanted(name, content, entry, back, generation, limits, now, covers(approved, name), answers_max))
    for name, entry in entries.items():
        if name not in wanted:
            steps.append(_unwanted(name, entry, generation))
    steps.sort(key=lambda step: step.name)
    return steps


def _wanted(
    name: str,
    text: str,
    entry: Entry | None,
    back: Outlived | None,
    generation: int,
    limits: Limits,
    now: float,
    approved: bool,
    answers_max: int,
) -> Step:
    if back is not None:
        known, entry = entry, with_outlived(name, entry, back)
        now = now if entry is known else back.at
    if entry is not None and _unresolved(entry, generation):
        return Step(name=name, kind=Kind.RESOLVE, entry=entry, content=text)
    content: Content = parse_content(text)
    pending = None if entry is None else entry.pending
    if pending is not None and pending.generation == generation:
        refusal = None  # another enactor judged it and began: deciding otherwise now would leave it half done
        if pending.content not in (text, REMOVAL):
            text, content = pending.content, parse_content(pending.content)  # what a name had that comes back
    else:
        refusal = judge_endpoint(content, entry, limits, now, approved=approved, answers_max=answers_max)
    if refusal is not None and back is not None and entry is not None and not entry.live and not entry.earlier:
        # It is wanted, and not as weak as this: what it had last is better than nothing. Then it is held on that.
        last = parse_content(back.content)
        if judge_endpoint(last, entry, limits, now, approved=approved, answers_max=answers_max) is None:
            text, content, refusal = back.content, last, None
    if refusal is not None and entry is not None and (pending is not None or entry.earlier):
        return Step(name=name, kind=Kind.RESOLVE, entry=entry, content=text)
    if refusal is not None:
        return Step(name=name, kind=Kind.HOLD, entry=entry, content=text, refusal=refusal)
    owned = entry is not None and entry.owned
    return Step(
        name=name,
        kind=Kind.WRITE,
        entry=entry,
        content=text,
        parsed=content,
        expect=Expect.OWNED if owned else Expect.NEW,
    )


def _unwanted(name: str, entry: Entry, generation: int) -> Step:
    if _unresolved(entry, generation):
        return Step(name=name, kind=Kind.RESOLVE, entry=entry)
    if entry.owned:
        return Step(name=name, kind=Kind.REMOVE, entry=entry)
    return Step(name=name, kind=Kind.FORGET, entry=entry)


def _unresolved(entry: Entry, generation: int) -> bool:
    """Whether an older generation began to write a name that the ledger did not own.

    The write may have landed (then the name is ours) or not (then what stands there, if
    anything, is somebody else's). Below the fence it can no longer land, so one read tells.
    So it does where more versions than the ledger remembers may be served.
    """
    begun = (*entry.earlier, entry.pending) if entry.pending is not None else entry.earlier
    if not begun or begun[-1].generation == generation:
        return False
    return not entry.owned or len(entry.earlier) >= EARLIER_MAX
