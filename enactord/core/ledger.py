"""The ledger's values: per endpoint what is applied, last known good, pending, held; and their stored form.

A bucket is stored as a line in clear, the number of slots of its zone that it was written
under, and a compressed text behind it: one line an endpoint, sorted by name, six cells or
more parted by tabs (contents are JSON without tabs):

    name    applied    good    pending    held    peaks    [earlier ...]

A version is "generation/answers_max/content" ("-": none; "=": good is what is applied;
content "-": removal). Peaks are "start_s:weight:addresses" parted by commas.
"""

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from enactord.core.buckets import valid_slots
from enactord.core.content import Capacity, parse_content
from enactord.core.records import NO_RECORDS, Records, Served
from enactord.core.render import render

PEAKS_MAX = 16
EARLIER_MAX = 8
BUCKET_TEXT_MAX = 64 * 1024 * 1024
"""Largest bucket after decompression: a bound on what a damaged store can make a reader allocate."""
REMOVAL = "-"
GARBAGE = 0
"""What stands in place of a number of slots where the bucket cannot be read."""
_SLOTS = re.compile(rb"([1-9][0-9]{0,5})\n")

_TARGET = r'\["[0-9a-f.:]{2,45}",(?:0|[1-9]\d{0,9})(?:,"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-f]{4}))*+")?\]'
_GENERATION, _ANSWERS = r"(?:0|[1-9]\d{0,17})", r"(?:0|[1-9]\d{0,2})"
_VERSION = re.compile(
    rf"({_GENERATION})/({_ANSWERS})/"
    rf"(-|\[(?:0|[1-9]\d{{0,8}}|[12]\d{{9}}),\[(?:{_TARGET}(?:,{_TARGET})*+)?\]\])\Z"
)
"""The form of a version, its content included: half the price of reading the JSON, and a bucket holds many."""
_NAME = re.compile(r"(?:\*\.)?(?:[a-z0-9_-]{1,63}\.)++\Z")
_NAME_LENGTH_MAX = 254  # with its final dot: RFC 1035 section 2.3.4
_PEAK = r"\d{1,12}:\d{1,15}:\d{1,5}"
_PEAKS = re.compile(rf"{_PEAK}(?:,{_PEAK})*+\Z")
_SETTLED = re.compile(rf"{_GENERATION}/{_ANSWERS}/([^\t]*+)\t=\t-\t-\t(?:-\Z|{_PEAKS.pattern})")
"""A line behind its name where nothing is pending, held or yet to be seen; group 1 is the applied content."""


class Version(NamedTuple):
    """A content with the generation that wrote it; `content` "-" is a removal.

    `answers_max` is the limit in force when it was written, so that a sample of many
    targets can be drawn again, exactly, and does not churn when the limit changes; 0: the
    zone expresses weights (`render.WEIGHTED`).
    Generation 0: adopted, not written by a plan.
    """

    generation: int
    content: str
    answers_max: int

    def records(self, name: str) -> Records:
        """The records that this version puts at the name."""
        return _records(name, self.generation, self.content, self.answers_max)


@lru_cache(maxsize=4096)
def _records(name: str, generation: int, content: str, answers_max: int) -> Records:
    if content == REMOVAL:
        return NO_RECORDS
    try:
        return render(name, generation, parse_content(content), answers_max)
    except ValueError:
        return NO_RECORDS  # a damaged ledger: an address that is none; no answer shows it, no repair writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why an endpoint is left on its last known good, and since when (seconds since the epoch)."""

    generation: int
    guard: str
    detail: str
    since_s: int


class Peak(NamedTuple):
    """A capacity in force from `start_s` until the next peak's start."""

    start_s: int
    capacity: Capacity


class Entry(NamedTuple):
    """One endpoint of the ledger.

    `applied` None: the ledger does not own the name (it is held or pending as a new one).
    `pending`: a write of it began and has no known end. `good`: newest version seen served.
    `earlier`: versions that were pending before, oldest first: one of them may be what is
    served, as another enactor's write of it may land yet, until the fence moves.
    `peaks`: what it could carry lately; also of a name that came back, and is not owned yet.
    """

    name: str
    applied: Version | None = None
    good: Version | None = None
    pending: Version | None = None
    held: Hold | None = None
    peaks: tuple[Peak, ...] = ()
    earlier: tuple[Version, ...] = ()

    @property
    def owned(self) -> bool:
        return self.applied is not None

    @property
    def live(self) -> bool:
        """Whether the name may be served as ours: owned, or a write of it as a new one began."""
        return self.applied is not None or self.pending is not None

    @property
    def may_serve(self) -> tuple[Version, ...]:
        """What the name may serve rightly, newest first: what is pending, was pending before, or is applied."""
        begun = (*self.earlier, *((self.pending,) if self.pending is not None else ()))
        return (*reversed(begun), *((self.applied,) if self.applied is not None else ()))

    @property
    def may_be_gone(self) -> bool:
        """Whether the name may rightly serve nothing: a removal began whose end nobody recorded."""
        return any(version.content == REMOVAL for version in self.may_serve)

    @property
    def state(self) -> str:
        if self.pending is not None:
            return "pending"
        return "held" if self.held is not None else "applied"


class Outlived(NamedTuple):
    """What is known of a name that plans had removed and bring back: its peaks, and the content that it had last.

    `at`: when the plan was published that brings it back, in seconds since the epoch. Peaks are of plans' times, too.
    """

    peaks: tuple[Peak, ...]
    content: str
    at: float


def with_outlived(name: str, entry: Entry | None, back: Outlived) -> Entry:
    """The entry of a name that comes back, with its peaks of before; one that is owned, or has peaks, has its own."""
    if entry is not None and (entry.owned or entry.peaks):
        return entry
    return (entry or Entry(name=name))._replace(peaks=back.peaks)


Bucket = dict[str, Entry]


def with_pending(entry: Entry, version: Version) -> Entry:
    """The entry after a write of the version began."""
    begun = entry.earlier if entry.pending is None else (*entry.earlier, entry.pending)
    return entry._replace(pending=version, earlier=tuple([earlier for earlier in begun if earlier != version]))


def with_refusal(entry: Entry, version: Version, hold: Hold) -> Entry:
    """The entry after the zone refused the version; another enactor's write of it may be on its way still."""
    return entry._replace(pending=None, held=hold, earlier=(version,))


def with_unserved(entry: Entry, version: Version, hold: Hold, *, now_s: int, capacity: Capacity) -> Entry:
    """The entry after the zone took the version and does not serve it: ours, held, and no last known good."""
    return with_applied(entry, version, seen=False, now_s=now_s, capacity=capacity)._replace(held=hold)


def with_cover(entry: Entry, hold: Hold) -> Entry:
    """The entry where what covers its name hides what became of older writes: they stay in mind, and it is held."""
    begun = entry.earlier if entry.pending is None else (*entry.earlier, entry.pending)
    return entry._replace(pending=None, earlier=begun[-EARLIER_MAX:], held=hold)


def with_answer(entry: Entry, answer: Served) -> Entry | None:
    """The entry once no write of it can land any more and the name was read; None: nothing is left to say of it.

    If the answer equals a version that was pending, this version becomes the applied one. Else the applied one stays,
    and the difference is drift.
    """
    versions = [*entry.earlier, *([entry.pending] if entry.pending else [])]
    for version in reversed(versions):
        if not answer.shows(version.records(entry.name)):
            continue
        if version.content == REMOVAL:
            return None
        # Its capacity enters the peaks with the next write; it was judged when it began.
        return entry._replace(applied=version, good=version, pending=None, earlier=())
    return entry._replace(pending=None, earlier=()) if entry.owned or entry.held is not None else None


def with_applied(entry: Entry, version: Version, *, seen: bool, now_s: int, capacity: Capacity) -> Entry:
    """The entry after the version was written (and, where `seen`, found served)."""
    return Entry(
        name=entry.name,
        applied=version,
        good=version if seen else entry.good,
        peaks=with_peak(entry.peaks, now_s, capacity),
    )


def with_peak(peaks: tuple[Peak, ...], now_s: int, capacity: Capacity) -> tuple[Peak, ...]:
    """Add a capacity that is in force from now on.

    An older one that is smaller, by weight and by addresses, can never again be the greatest of a window that
    reaches to now, and is dropped. Beyond `PEAKS_MAX` the shortest-lived is merged into the one before it, which
    errs on the careful side.
    """
    kept = [peak for peak in peaks if _greater(peak.capacity, capacity) != capacity]
    # A clock that went back must not put the peaks out of order: a start is never before the last.
    start_s = max(now_s, kept[-1].start_s) if kept else now_s
    kept.append(Peak(start_s=start_s, capacity=capacity))
    if len(kept) > PEAKS_MAX:
        spans = [(kept[i + 1].start_s - kept[i].start_s, i) for i in range(1, len(kept) - 1)]
        shortest = min(spans)[1]
        merged = _greater(kept[shortest - 1].capacity, kept.pop(shortest).capacity)
        kept[shortest - 1] = kept[shortest - 1]._replace(capacity=merged)
    return tuple(kept)


def _greater(one: Capacity, other: Capacity) -> Capacity:
    """Return what is the greater of the two by each measure."""
    return Capacity(max(one.weight, other.weight), max(one.addresses, other.addresses))


def greatest_capacity(peaks: tuple[Peak, ...], since_s: float, last_s: float) -> Capacity:
    """Return the greatest capacity, by each measure, that was in force at any time from `since_s` on.

    `last_s`: the last moment at which one of them can have begun. A later start is of a clock that ran ahead.
    """
    found = Capacity()
    for i, peak in enumerate(peaks):
        if i + 1 == len(peaks) or min(peaks[i + 1].start_s, last_s) > since_s:
            found = _greater(found, peak.capacity)
    return found


def pack_bucket(entries: Mapping[str, Entry], slots: int) -> bytes:
    """Return the stored form of a bucket of a zone of so many slots."""
    text = "".join([_line(entries[name]) for name in sorted(entries)])
    return b"%d\n" % slots + zlib.compress(text.encode("ascii"), 1)


def packed_slots(packed: bytes) -> int:
    """Return the number of slots that a stored bucket was written under, `GARBAGE` where it does not say so."""
    found = _SLOTS.match(packed)
    return int(found[1]) if found and valid_slots(int(found[1])) else GARBAGE


def _line(entry: Entry) -> str:
    good = "=" if entry.good is not None and entry.good == entry.applied else _version(entry.good)
    held = "-"
    if entry.held is not None:
        hold = entry.held
        held = json.dumps([hold.generation, hold.guard, hold.detail, hold.since_s], separators=(",", ":"))
    peaks = ",".join([f"{start_s}:{weight}:{addresses}" for start_s, (weight, addresses) in entry.peaks]) or "-"
    earlier = "".join(["\t" + _version(version) for version in entry.earlier])
    return f"{entry.name}\t{_version(entry.applied)}\t{good}\t{_version(entry.pending)}\t{held}\t{peaks}{earlier}\n"


def _version(version: Version | None) -> str:
    return "-" if version is None else f"{version.generation}/{version.answers_max}/{version.content}"


def parse_bucket(packed: bytes) -> Bucket:
    """Return the entries of a stored bucket; what cannot be read is left out.

    A damaged ledger must not stop the way to the newest plan: an entry that is missing
    is only unknown, and is written again as if it were new.
    """
    entries: Bucket = {}
    for line in _lines(packed) or ():
        try:
            entry = _entry(line)
        except (ValueError, TypeError, RecursionError):
            continue
        entries[entry.name] = entry
    return entries


def is_whole(packed: bytes, entries: Mapping[str, Entry]) -> bool:
    """Whether a stored bucket holds these entries, which were read from it, and nothing that could not be."""
    lines = _lines(packed)
    return lines is not None and len(lines) == len(entries)


def says_exactly(packed: bytes, wanted: Mapping[str, str]) -> bool:
    """Whether a stored bucket says that these contents, by name, are applied and seen served, and nothing else.

    False where it may say so all the same, in other words: then its entries must be read.
    It is a quarter of the price of reading them, and what other enactors finished needs no more.
    """
    lines = _lines(packed)
    if lines is None or len(lines) != len(wanted):
        return False
    before = ""
    for line in lines:
        name, _, rest = line.partition("\t")
        content = wanted.get(name)
        if content is None or name <= before:
            return False
        found = _SETTLED.match(rest)
        if found is None or found[1] != content:
            return False
        before = name
    return True


def _lines(packed: bytes) -> list[str] | None:
    """Return a bucket's lines; None where it is cut short, or too long: without its checksum no line can be trusted."""
    if packed_slots(packed) == GARBAGE:
        return None
    decompressor = zlib.decompressobj()
    try:
        text = decompressor.decompress(packed[packed.index(b"\n") + 1 :], BUCKET_TEXT_MAX).decode("ascii")
    except (zlib.error, UnicodeDecodeError):
        return None
    return text.splitlines() if decompressor.eof else None


def _entry(line: str) -> Entry:
    name, applied_cell, good_cell, pending_cell, held_cell, peaks_cell, *earlier_cells = line.split("\t")
    if len(name) > _NAME_LENGTH_MAX or _NAME.match(name) is None:
        raise ValueError(f"{name!r} is no name")
    applied = _parse_version(applied_cell)
    good = applied if good_cell == "=" else _parse_version(good_cell)
    if (applied and applied.content == REMOVAL) or (good and good.content == REMOVAL):
        raise ValueError("a removal that is served")
    held = None
    if held_cell != "-":
        generation, guard, detail, since_s = json.loads(held_cell)
        if type(generation) is not int or type(since_s) is not int or type(guard) is not str or type(detail) is not str:
            raise TypeError("a hold that is none")
        held = Hold(generation=generation, guard=guard, detail=detail, since_s=since_s)
    peaks: tuple[Peak, ...] = ()
    if peaks_cell != "-":
        if _PEAKS.match(peaks_cell) is None:
            raise ValueError(f"{peaks_cell!r} are no peaks")
        cells = [cell.split(":") for cell in peaks_cell.split(",")]
        peaks = tuple([Peak(int(start), Capacity(int(weight), int(addresses))) for start, weight, addresses in cells])
    return Entry(
        name=name,
        applied=applied,
        good=good,
        pending=_parse_version(pending_cell),
        held=held,
        peaks=peaks,
        earlier=tuple([v for v in map(_parse_version, earlier_cells) if v is not None]) if earlier_cells else (),
    )


def _parse_version(cell: str) -> Version | None:
    if cell == "-":
        return None
    found = _VERSION.match(cell)
    if found is None:
        raise ValueError(f"{cell!r} is no version")
    generation, answers_max, content = found.groups()
    return Version(generation=int(generation), content=content, answers_max=int(answers_max))


def references(entries: Iterable[Entry]) -> dict[int, str]:
    """Return each generation that an entry needs besides its zone's applied one, with why."""
    needed: dict[int, str] = {}
    for entry in entries:
        if entry.pending is not None:
            needed.setdefault(entry.pending.generation, f"pending at {entry.name}")
        if entry.held is not None and entry.applied is not None:
            needed.setdefault(entry.applied.generation, f"active at {entry.name}, which is held")
        if entry.good is not None and entry.good != entry.applied:
            needed.setdefault(entry.good.generation, f"last known good of {entry.name}")
    return needed
