"""What became of one write, as the ledger enters it: values in, a value out."""

from collections.abc import Callable
from typing import NamedTuple

from enactord.core.buckets import BucketId
from enactord.core.content import Capacity
from enactord.core.diff import Step
from enactord.core.ledger import (
    REMOVAL,
    Entry,
    Hold,
    Version,
    with_answer,
    with_applied,
    with_refusal,
    with_unserved,
)
from enactord.core.records import Records, Served
from enactord.core.refusal import COVERED, FOREIGN, SERVER, Refusal
from enactord.engine.write import Fate, Written

REFUSED = (Fate.CONFLICT, Fate.REJECTED, Fate.DROPPED)


class Write(NamedTuple):
    """One change under way: its step, the version that it brings, and its records."""

    step: Step
    bucket_id: BucketId
    version: Version
    records: Records


class Outcome(NamedTuple):
    """The entry of a name after its write, None: it is gone; and the hold that is new by it, if any is."""

    entry: Entry | None
    held: Hold | None = None


def outcome(
    entry: Entry,
    write: Write,
    fate: Written,
    instead: Served | None,
    *,
    seen: bool,
    now_s: int,
    hold: Callable[[Refusal, Entry], Hold],
) -> Outcome | None:
    """Return what the ledger has of a name after a write; None: nothing of it changes.

    ============================  ==========================================================================
    fate of the write             entry
    ============================  ==========================================================================
    another's word is newer       as it is
    accepted, a removal           gone
    accepted, and covered         applied and held: it stands in the zone, and is not served as it should be
    dropped in part, a new name   likewise
    accepted                      applied; last known good if `seen`
    refused, an earlier write     as it is: the name could not be read (`instead` is None)
    of it has no known end
    refused                       as before the write, and held
    not known                     as it is: pending
    ============================  ==========================================================================

    `instead`: what the name serves, where its write was refused. `hold`: the hold for a refusal.
    """
    if entry.pending != write.version and not _late(entry, write.version, fate):
        return None  # another enactor committed it (or a newer generation began): its word is newer
    match fate.fate:
        case Fate.COMMITTED if write.version.content == REMOVAL:
            return Outcome(None)
        case Fate.COMMITTED | Fate.DROPPED if fate.cut or (fate.partly and not entry.owned):
            held = hold(Refusal(guard=COVERED if fate.cut else SERVER, detail=fate.detail), entry)
            return Outcome(with_unserved(entry, write.version, held, now_s=now_s, capacity=_capacity(write)), held)
        case Fate.COMMITTED:
            return Outcome(with_applied(entry, write.version, seen=seen, now_s=now_s, capacity=_capacity(write)))
        case Fate.CONFLICT | Fate.REJECTED | Fate.DROPPED if entry.earlier and instead is None:
            return None
        case Fate.CONFLICT | Fate.REJECTED | Fate.DROPPED:
            held = hold(_refusal(entry.name, fate), entry)
            new = held if held != entry.held else None
            if entry.earlier:
                assert instead is not None
                entry = with_answer(entry._replace(pending=None), instead) or Entry(name=entry.name)
            return Outcome(with_refusal(entry, write.version, held), new)
        case Fate.UNRESOLVED:
            return None


def _refusal(name: str, fate: Written) -> Refusal:
    """Return why a name is held whose write the zone refused, and what to do."""
    if fate.cut:
        return Refusal(guard=COVERED, detail=fate.detail)
    if fate.fate is Fate.CONFLICT:
        return Refusal(guard=FOREIGN, detail=f"{fate.detail}; adopt it with: enactorctl adopt {name}")
    return Refusal(guard=SERVER, detail=fate.detail)


def _capacity(write: Write) -> Capacity:
    return write.step.parsed.capacity(write.version.answers_max) if write.step.parsed else Capacity()


def _late(entry: Entry, version: Version, fate: Written) -> bool:
    """Whether a write landed that another enactor, refused by the zone before, had already given up."""
    landed = fate.fate is Fate.COMMITTED and entry.pending is None
    return landed and entry.applied != version and (entry.live or version.content != REMOVAL)
