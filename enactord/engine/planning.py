"""Reading and judging a plan: which buckets need a look, what they hold, and whether the plan is acceptable."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from enactord.core.baselines import baselines, begins_memory
from enactord.core.buckets import BucketId
from enactord.core.diff import conforms
from enactord.core.errors import PlanUnreadable
from enactord.core.fence import FenceRecord
from enactord.core.guards import VELOCITY_WINDOW, Finding, look
from enactord.core.guards.kinds import Weighing
from enactord.core.ledger import Outlived
from enactord.core.measures import Loss, Size
from enactord.core.names import zone_of
from enactord.core.plan import Manifest, ZonePart, parse_chunk
from enactord.core.refusal import Refusal
from enactord.engine.desired import plan_at
from enactord.engine.settings import Ports, Settings
from enactord.store.cache import Cache
from enactord.store.chunks import read_chunks
from enactord.store.keys import Keys
from enactord.store.weighing import Contents, Scales, may_have_removed, outlived, weigh


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """A plan as far as it has been read: the buckets of each zone that need a look, and their contents."""

    manifest: Manifest
    zones: Mapping[str, Sequence[BucketId]]
    texts: Mapping[str, str]

    def wanted(self, bucket: BucketId) -> Mapping[str, str]:
        """Name to content text of a bucket."""
        digest = self.manifest.part(bucket.zone).chunk(bucket)
        return {} if digest is None else parse_chunk(self.texts[digest])

    def count(self, bucket: BucketId) -> int:
        """How many endpoints of the plan lie in a bucket, told without reading them."""
        digest = self.manifest.part(bucket.zone).chunk(bucket)
        return 0 if digest is None else self.texts[digest].count("\n")


class Planning:
    """Reads and judges plans for one enactor."""

    def __init__(self, settings: Settings, ports: Ports, cache: Cache) -> None:
        self.settings = settings
        self._ports = ports
        self._keys = Keys(settings.scope)
        self._cache = cache

    def suspects(self, manifest: Manifest, zone: str) -> list[BucketId]:
        """Return the buckets of a zone that may not conform to the plan.

        Where the zone conforms to the plan that is recorded as applied, a bucket whose chunk is
        the same in both needs no look, unless it holds marks or has been written since:
        a newer plan may have come half way, and taken from it what this one has.
        """
        part = manifest.part(zone)
        every = [BucketId(zone, slot, part.slots) for slot in range(part.slots)]
        applied = self._applied_part(zone)
        index = self._cache.ledger
        if applied is None or applied.slots != part.slots or not index.levels(zone) <= {part.slots}:
            return every
        since = self._cache.applied_revision(zone)
        found = []
        for bucket in every:
            digest = part.chunk(bucket)
            revision = index.revision(bucket)
            lost = digest is not None and not revision
            same = applied.chunk(bucket) == digest
            if not same or lost or revision > since or not index.summary(bucket).settled:
                found.append(bucket)
        return found

    def _applied_part(self, zone: str) -> ZonePart | None:
        """What the plan that is recorded as applied holds of the zone; None where it cannot be read."""
        try:
            manifest = self._cache.manifest(self._cache.applied(zone))
        except PlanUnreadable:
            return None
        return None if manifest is None else manifest.part(zone)

    async def read(self, manifest: Manifest, zones: Collection[str]) -> PlanView:
        """Read what needs a look of the plan in these zones. Raises `PlanUnreadable`, `StoreDown`."""
        buckets = {zone: self.suspects(manifest, zone) for zone in sorted(zones)}
        digests = {
            digest
            for zone, some in buckets.items()
            for bucket in some
            if (digest := manifest.part(zone).chunk(bucket)) is not None
        }
        texts = await read_chunks(self._ports.store, self._keys, digests, self._cache.chunks(digests))
        return PlanView(manifest=manifest, zones=buckets, texts=texts)

    async def read_zone(self, view: PlanView, zone: str) -> PlanView:
        """Return what needs a look now in one zone, from the view where it has that. Raises as `read` does."""
        suspects = self.suspects(view.manifest, zone)
        if set(suspects) <= set(view.zones.get(zone, ())):
            return PlanView(manifest=view.manifest, zones={zone: suspects}, texts=view.texts)
        return await self.read(view.manifest, [zone])

    def size(self, view: PlanView, bucket: BucketId) -> int:
        """How many endpoints a bucket has, in the plan or in the ledger."""
        return max(self._cache.ledger.summary(bucket).entries, view.count(bucket))

    def quiet(self, view: PlanView, zone: str) -> bool:
        """Whether the plan changes nothing in a zone in which all is as the plan before it says.

        Then its fence need not be raised in the DNS.
        """
        record, cache = self._cache.fence(zone), self._cache
        if record is None or not 0 < record.generation < view.manifest.generation:
            return False
        plan = plan_at(cache, record)
        if plan is None or cache.applied(zone) != record.generation or plan.part(zone) != view.manifest.part(zone):
            return False
        totals, part = cache.ledger.zone_totals(zone), view.manifest.part(zone)
        if not totals.settled or totals.entries != part.endpoints or record.slots != part.slots:
            return False
        if not cache.ledger.levels(zone) <= {part.slots}:
            return False
        suspects = self.suspects(view.manifest, zone)
        return set(suspects) <= set(view.zones[zone]) and all(
            conforms(view.wanted(bucket), cache.ledger.bucket(bucket)) for bucket in suspects
        )

    async def judge(self, view: PlanView, fences: Mapping[str, FenceRecord | None]) -> Refusal | None:
        """Judge a plan as a whole against the ledger, and against its baselines. Raises as `read` does.

        `fences`: each zone's fence in the store when the reading of the view, which holds every zone of the
        config, began. What the store has of other zones counts for nothing.
        """
        manifest = view.manifest
        if manifest.ordered:
            return None
        if any(record is not None and record.generation == manifest.generation for record in fences.values()):
            return None  # decided when it was opened; part of it may be gone already
        findings = self._against_served(view, fences)
        if not any(finding.seen.refused for finding in findings):
            findings = await self._against_baselines(manifest)
        return next((finding.refusal() for finding in findings if finding.seen.refused), None)

    def _against_served(self, view: PlanView, fences: Mapping[str, FenceRecord | None]) -> list[Finding]:
        """Return what guards see of the names that go, against what is applied or about to be."""
        removed = 0
        for bucket in (bucket for buckets in view.zones.values() for bucket in buckets):
            wanted = view.wanted(bucket)
            entries = self._cache.ledger.bucket(bucket)
            removed += sum(entry.live and name not in wanted for name, entry in entries.items())
        planned = sum(view.manifest.part(zone).endpoints for zone in view.zones)
        weighed = [(0, removed, self._cache.ledger.totals_of(view.zones).live)]
        under_way: dict[int, Manifest] = {}
        for zone, record in fences.items():
            plan = None if record is None else plan_at(self._cache, record)
            if plan is not None and self._cache.applied(zone) != plan.generation:
                under_way[plan.generation] = plan
        for plan in under_way.values():
            # Others may be at work on the plan that is opened, and the ledger that is known here
            # not yet show it: what that plan holds counts as served.
            held = sum(plan.part(zone).endpoints for zone in view.zones)
            weighed.append((plan.generation, max(0, held - planned), held))
        weighings = [Weighing("", since, Size(before), Loss(gone), planned) for since, gone, before in weighed]
        return [finding for weighing in weighings for finding in look(weighing, self.settings.limits)]

    async def _against_baselines(self, manifest: Manifest) -> list[Finding]:
        """Return what guards see of what goes since the window began."""
        stored = self._lately(manifest)
        against = self._baselines(manifest, stored)
        return await weigh(manifest, against, stored, self._scales(), applied=self._applied_contents)

    async def outlived(self, view: PlanView) -> dict[str, Outlived]:
        """Return what is known of names that the plan brings back, as `weighing.outlived` does. Raises `StoreDown`."""
        manifest = view.manifest
        if manifest.ordered:
            return {}
        stored = self._lately(manifest)
        against = self._baselines(manifest, stored)
        if not may_have_removed(stored, against):
            return {}
        names: list[str] = []
        for bucket in (bucket for buckets in view.zones.values() for bucket in buckets):
            entries = self._cache.ledger.bucket(bucket)
            names += [name for name in view.wanted(bucket) if name not in entries or not entries[name].owned]
        return await outlived(manifest, names, against, self._scales())

    def _baselines(self, manifest: Manifest, stored: Mapping[int, Manifest]) -> list[Manifest]:
        window_s = self.settings.limits[VELOCITY_WINDOW]
        plans = list(stored.values())
        return baselines(plans, manifest.generation, manifest.published_at, window_s, self._cache.refused)

    def _scales(self) -> Scales:
        return Scales(
            zones=[zone.name for zone in self.settings.zones],
            limits=self.settings.limits,
            answers={zone.name: zone.answers_max for zone in self.settings.zones},
            read=self._read_chunks,
            served=self._applied_to,
        )

    def _lately(self, manifest: Manifest) -> dict[int, Manifest]:
        """Return the plans before one that can be read, back to the one in force when the window began."""
        window_s = self.settings.limits[VELOCITY_WINDOW]
        found: dict[int, Manifest] = {}
        for generation in reversed(self._cache.generations):
            if generation >= manifest.generation:
                continue
            try:
                before = self._cache.manifest(generation)
            except PlanUnreadable:
                continue
            if before is not None:
                found[generation] = before
                refused = generation in self._cache.refused
                if not refused and begins_memory(before, manifest.published_at, window_s):
                    break
        return found

    async def _read_chunks(self, digests: Collection[str]) -> Mapping[str, str]:
        return await read_chunks(self._ports.store, self._keys, digests, self._cache.chunks(digests))

    async def _applied_to(self, names: Collection[str]) -> Mapping[str, str]:
        """What the ledger has as applied, of some names."""
        index, zones = self._cache.ledger, frozenset(zone.name for zone in self.settings.zones)
        found = {}
        for name in names:
            bucket = index.find(zone_of(name, zones) or "", name)
            entry = index.bucket(bucket).get(name) if bucket is not None else None
            if entry is not None and entry.applied is not None:
                found[name] = entry.applied.content
        return found

    async def _applied_contents(self) -> Contents:
        """What the ledger has as applied, by zone."""
        return self._cache.ledger.applied_contents([zone.name for zone in self.settings.zones])
