"""Reading and judging a plan: which buckets need a look, what they hold, and whether the plan is acceptable."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from enactord.core.buckets import BucketId
from enactord.core.diff import conforms
from enactord.core.errors import PlanUnreadable
from enactord.core.fence import FenceRecord
from enactord.core.guards import judge_removals
from enactord.core.plan import Manifest, ZonePart, parse_chunk
from enactord.core.refusal import Refusal
from enactord.engine.rightful import plan_at
from enactord.engine.settings import Ports, Settings
from enactord.registry.keys import Keys
from enactord.registry.mirror import Mirror
from enactord.registry.plans import read_chunks


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

    def __init__(self, settings: Settings, ports: Ports, mirror: Mirror) -> None:
        self.settings = settings
        self._ports = ports
        self._keys = Keys(settings.scope)
        self._mirror = mirror

    def suspects(self, manifest: Manifest, zone: str) -> list[BucketId]:
        """Return the buckets of a zone that may not conform to the plan.

        Where the zone conforms to the plan that is recorded as applied, a bucket whose chunk is
        the same in both needs no look, unless it holds marks or has been written since:
        a newer plan may have come half way, and taken from it what this one has.
        """
        part = manifest.part(zone)
        every = [BucketId(zone, slot, part.slots) for slot in range(part.slots)]
        applied = self._applied_part(zone)
        index = self._mirror.ledger
        if applied is None or applied.slots != part.slots or not index.levels(zone) <= {part.slots}:
            return every
        since = self._mirror.applied_revision(zone)
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
            manifest = self._mirror.manifest(self._mirror.applied(zone))
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
        texts = await read_chunks(self._ports.store, self._keys, digests, self._mirror.chunks(digests))
        return PlanView(manifest=manifest, zones=buckets, texts=texts)

    async def read_zone(self, view: PlanView, zone: str) -> PlanView:
        """Return what needs a look now in one zone, from the view where it has that. Raises as `read` does."""
        suspects = self.suspects(view.manifest, zone)
        if set(suspects) <= set(view.zones.get(zone, ())):
            return PlanView(manifest=view.manifest, zones={zone: suspects}, texts=view.texts)
        return await self.read(view.manifest, [zone])

    def size(self, view: PlanView, bucket: BucketId) -> int:
        """How many endpoints a bucket has, in the plan or in the ledger."""
        return max(self._mirror.ledger.summary(bucket).entries, view.count(bucket))

    def quiet(self, view: PlanView, zone: str) -> bool:
        """Whether the plan changes nothing in a zone in which all is as the plan before it says.

        Then its fence need not be raised in the DNS.
        """
        record, mirror = self._mirror.fence(zone), self._mirror
        if record is None or not 0 < record.generation < view.manifest.generation:
            return False
        plan = plan_at(mirror, record)
        if plan is None or mirror.applied(zone) != record.generation or plan.part(zone) != view.manifest.part(zone):
            return False
        totals, part = mirror.ledger.zone_totals(zone), view.manifest.part(zone)
        if not totals.settled or totals.entries != part.endpoints or record.slots != part.slots:
            return False
        if not mirror.ledger.levels(zone) <= {part.slots}:
            return False
        suspects = self.suspects(view.manifest, zone)
        return set(suspects) <= set(view.zones[zone]) and all(
            conforms(view.wanted(bucket), mirror.ledger.bucket(bucket)) for bucket in suspects
        )

    def judge(self, view: PlanView, fences: Mapping[str, FenceRecord | None]) -> Refusal | None:
        """Judge a plan as a whole against the ledger.

        `fences`: each zone's fence in the store when the reading of the view, which holds every zone of the
        config, began. What the store has of other zones counts for nothing.
        """
        removed = 0
        for bucket in (bucket for buckets in view.zones.values() for bucket in buckets):
            wanted = view.wanted(bucket)
            entries = self._mirror.ledger.bucket(bucket)
            removed += sum(entry.live and name not in wanted for name, entry in entries.items())
        manifest = view.manifest
        if any(record is not None and record.generation == manifest.generation for record in fences.values()):
            return None  # decided when it was opened; part of it may be gone already
        weighed = {(removed, self._mirror.ledger.totals_of(view.zones).live)}
        planned = sum(manifest.part(zone).endpoints for zone in view.zones)
        under_way: dict[int, Manifest] = {}
        for zone, record in fences.items():
            plan = None if record is None else plan_at(self._mirror, record)
            if plan is not None and self._mirror.applied(zone) != plan.generation:
                under_way[plan.generation] = plan
        for plan in under_way.values():
            # Others may be at work on the plan that is opened, and the ledger that is known here
            # not yet show it: what that plan holds counts as served.
            held = sum(plan.part(zone).endpoints for zone in view.zones)
            weighed.add((max(0, held - planned), held))
        refusals = (
            judge_removals(gone, before, planned, self.settings.limits, approved=manifest.ordered)
            for gone, before in sorted(weighed)
        )
        return next((refusal for refusal in refusals if refusal is not None), None)
