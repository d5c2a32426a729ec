"""What a name should serve: the version that a repair may put there, or that nobody here can say.

The plan that is opened in the zone decides, by the same diff and guards as on its
way; the ledger alone does not. It may be older than what is served: of a store that was
set back to a backup, of a watch that lost an event, or of an enactor that was cut off
while others went on. Putting its content back would undo what they wrote.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from enactord.core.buckets import BucketId, bucket_of
from enactord.core.diff import Kind, diff_bucket
from enactord.core.errors import PlanUnreadable
from enactord.core.fence import FenceRecord
from enactord.core.guards import Limits
from enactord.core.ledger import REMOVAL, Entry, Version
from enactord.core.plan import Manifest, chunk_digest, chunk_text, parse_chunk
from enactord.core.records import Records, Served
from enactord.core.refusal import ZONE_GUARDS
from enactord.store.cache import Cache
from enactord.store.keys import read_chunk

DriftKind = Literal["emptied", "drifted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A name that is not served as the ledger has it."""

    name: str
    kind: DriftKind
    served: Served
    wanted: Records
    content: str
    """What is wanted, as the ledger has it."""


def plan_at(cache: Cache, record: FenceRecord) -> Manifest | None:
    """Return the plan that is opened in a zone; None where the store has another of that number, or none."""
    try:
        manifest = cache.manifest(record.generation)
    except PlanUnreadable:
        return None
    return manifest if manifest is not None and manifest.mark == record.plan else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredState:
    """Judges the names of one zone at one moment."""

    zone: str
    cache: Cache
    manifest: Manifest
    """The plan that is opened in the zone."""
    limits: Limits
    answers_max: int
    now: float
    store_up: bool
    """Whether the store will be asked, before anything is written, that the ledger is as the cache has it."""
    refused: Callable[[str, str], bool]
    """Whether the zone has refused a content at a name, as far as is known here."""
    _conforming: dict[BucketId, bool] = field(default_factory=dict)

    def version(self, entry: Entry, answer: Served) -> Version | None:
        """Return what the name should serve instead of the answer; None: this very answer, or not known here."""
        assert entry.applied is not None
        content = self._content(entry)
        if content is None or content == REMOVAL:
            return None
        steps = diff_bucket(
            {entry.name: content},
            {entry.name: entry},
            generation=self.manifest.generation,
            limits=self.limits,
            now=self.now,
            approved=self.manifest.approved,
            answers_max=self.answers_max,
        )
        planned = Version(generation=self.manifest.generation, content=content, answers_max=self.answers_max)
        # Whoever begins to write a name marks it before: one without a mark serves what is applied, or was emptied.
        # What a mark is for may have been served, or may come yet, over whatever stands there: it is total.
        emptied = answer.empty and not entry.may_be_gone
        held = entry.held is not None and entry.held.generation == planned.generation
        match steps[0].kind if steps else Kind.SETTLE:
            case Kind.SETTLE:
                return entry.applied
            case Kind.HOLD if not held:
                # Its pass will say, and empty it must not wait for that. With the store away, the ledger may be older
                # than what is served, as a hold of this plan would have shown: others went on under plans between.
                return entry.applied if emptied else None
            case Kind.HOLD if not emptied and answer.shows(planned.records(entry.name)):
                return None  # others, by another clock, have let it through
            case Kind.HOLD:
                return entry.applied
            case Kind.WRITE if answer.shows(planned.records(entry.name)):
                return None
            case Kind.WRITE if held and entry.held is not None and entry.held.guard in ZONE_GUARDS:
                return entry.applied  # the server takes nothing else
            case Kind.WRITE if self.store_up:
                # The way of the plan writes it, and records it, as repair does not. It may be long in coming:
                # frozen, or kept by other names. Until then what was served last, for certain, is better than nothing.
                return entry.applied if emptied else None
            case Kind.WRITE if self.refused(entry.name, planned.content):
                return entry.applied if emptied else None  # others may have got it through since
            case Kind.WRITE:
                return planned
            case Kind.RESOLVE if emptied:
                return entry.good or entry.applied
            case _:
                return None

    def missing(self, entries: Iterable[Entry]) -> set[str]:
        """Return the digests of the chunks that must be read before these entries can be judged."""
        digests = {self._digest(entry) for entry in entries if not self._conforms(entry)}
        return {digest for digest in digests if digest is not None and self.cache.chunk(digest) is None}

    def _bucket_id(self, entry: Entry) -> BucketId:
        return bucket_of(entry.name, self.zone, self.manifest.part(self.zone).slots)

    def _digest(self, entry: Entry) -> str | None:
        """The digest of the chunk that holds the name if the plan does."""
        return self.manifest.part(self.zone).chunk(self._bucket_id(entry))

    def _content(self, entry: Entry) -> str | None:
        """What the plan says of the name: its content, a removal, or None where it is not known here."""
        if self._conforms(entry):
            assert entry.applied is not None
            return entry.applied.content
        digest = self._digest(entry)
        if digest is None:
            return REMOVAL
        packed = self.cache.chunk(digest)
        if packed is None:
            return None
        try:
            return parse_chunk(read_chunk(packed, digest)).get(entry.name, REMOVAL)
        except PlanUnreadable:
            return None

    def _conforms(self, entry: Entry) -> bool:
        """Whether the entry's bucket is, as applied, the very chunk of the plan: shown by its digest."""
        if entry.pending is not None or entry.held is not None:
            return False
        bucket_id = self._bucket_id(entry)
        if bucket_id not in self._conforming:
            bucket = self.cache.ledger.bucket(bucket_id)
            contents = {name: other.applied.content for name, other in bucket.items() if other.applied is not None}
            text = chunk_text(dict(sorted(contents.items())))
            self._conforming[bucket_id] = chunk_digest(text) == self._digest(entry)
        return self._conforming[bucket_id]
