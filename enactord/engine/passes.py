"""A pass: one way of a plan through one zone. What it works with, what it has found so far, and how it is cut short."""

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from enactord.core.buckets import BucketId
from enactord.core.diff import Step, conforms, diff_bucket
from enactord.core.fence import FenceRecord
from enactord.core.guards import Limits
from enactord.core.ledger import Entry, Outlived, says_exactly
from enactord.core.plan import Manifest
from enactord.core.records import Served
from enactord.core.refusal import ZONE_GUARDS
from enactord.engine.claims import Claims
from enactord.engine.health import Health
from enactord.engine.pace import Gate
from enactord.engine.planning import Planning
from enactord.engine.probing import Narrowing
from enactord.engine.raise_fence import FenceRaiser
from enactord.engine.retries import Retries
from enactord.engine.settings import Ports, Settings, ZonePorts
from enactord.engine.share import Sharing
from enactord.engine.verifier import Shows
from enactord.engine.write import ZoneWriter
from enactord.store.cache import Cache
from enactord.store.ledger import Ledger, Permit


class Interrupted(Exception):
    """The pass cannot go on and is tried anew from the start; says why.

    `judge`: the plan must be judged anew before that, as the zone's fence is not the fence it was judged by.
    """

    def __init__(self, detail: str, *, judge: bool = False) -> None:
        self.judge = judge
        super().__init__(detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A plan that was judged acceptable as a whole, and each zone's fence in the store by which it was judged."""

    manifest: Manifest
    fences: Mapping[str, FenceRecord | None]
    outlived: Mapping[str, Outlived] = field(default_factory=dict)
    """What is known of names that it brings back within the guards' window."""


@dataclass(slots=True, kw_only=True)
class Deps:
    """What all passes of one enactor share."""

    settings: Settings
    ports: Ports
    cache: Cache
    planning: Planning
    claims: Claims
    raiser: FenceRaiser
    sharing: Sharing
    writers: Mapping[str, ZoneWriter]
    health: Health
    rng: random.Random
    retries: Retries
    ledger: Ledger
    zones: Gate
    """Bounds the zones on their way at once."""
    slices: Gate
    """Bounds the slices under way at once, of all zones."""
    look: Callable[[str], None]
    """Has a zone looked at, soon."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a pass has done so far."""

    written: int = 0
    held: int = 0
    unresolved: int = 0
    """Writes whose end is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass over a plan in a zone: what each of its slices works with."""

    manifest: Manifest
    permit: Permit
    settings: Settings
    ports: Ports
    writer: ZoneWriter
    ledger: Ledger
    cache: Cache
    rng: random.Random
    wanted: Callable[[BucketId], Mapping[str, str]]
    """Name to content text of a bucket of the plan."""
    outlived: Mapping[str, Outlived] = field(default_factory=dict)
    """What is known of names that were gone, and come back within the guards' window."""
    again: bool = True
    """Whether names that the zone refused at this very generation are tried again."""
    tally: Tally = field(default_factory=Tally)
    own: dict[str, None] = field(default_factory=dict)
    """Names that this enactor itself marked pending in this pass."""
    refused: dict[str, None] = field(default_factory=dict)
    """Names that the server refused in this pass: not asked again before the next."""
    retries: Retries
    left_out: Collection[str] = ()
    """Verify servers that have not answered for long."""
    shows: Shows = Served.shows
    """Whether an answer counts as some records."""
    narrowing: Narrowing = field(default_factory=Narrowing)
    """The messages left for finding out which names the server refuses."""

    @property
    def generation(self) -> int:
        return self.manifest.generation

    @property
    def limits(self) -> Limits:
        return self.settings.limits

    @property
    def zone(self) -> str:
        return self.permit.zone

    @property
    def zone_ports(self) -> ZonePorts:
        return self.ports.zones[self.permit.zone]

    def diff(self, bucket_id: BucketId, entries: Mapping[str, Entry]) -> list[Step]:
        """Return the steps of a bucket, those of names that were refused left out."""
        steps = diff_bucket(
            self.wanted(bucket_id),
            entries,
            generation=self.generation,
            limits=self.limits,
            now=self.ports.clock.now(),
            approved=self.manifest.approved,
            answers_max=self.zone_ports.settings.answers_max,
            outlived=self.outlived,
        )
        return [
            step for step in steps if step.name not in self.refused and (self.again or not self._refused_before(step))
        ]

    def _refused_before(self, step: Step) -> bool:
        held = None if step.entry is None or step.entry.pending is not None else step.entry.held
        return held is not None and held.guard in ZONE_GUARDS and held.generation == self.generation

    def needs_work(self, bucket_id: BucketId) -> bool:
        """Whether a bucket may need steps; judges nothing."""
        wanted = self.wanted(bucket_id)
        packed = self.cache.ledger.unread(bucket_id)
        if packed is not None and says_exactly(packed, wanted):
            return False
        return not conforms(wanted, self.cache.ledger.bucket(bucket_id))

    def others_at_work(self, bucket_id: BucketId) -> bool:
        """Whether another enactor has marked something in a bucket at this generation."""
        index = self.cache.ledger
        return index.summary(bucket_id).pending > 0 and any(
            entry.pending is not None and entry.pending.generation == self.generation and entry.name not in self.own
            for entry in index.bucket(bucket_id).values()
        )
