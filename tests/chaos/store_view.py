"""The plan store as seen from beside: every plan as it appears, every delete, and what the ledger says is applied."""

import asyncio
from collections.abc import Mapping, Sequence

from enactord.core.errors import Compacted, PlanUnreadable, StoreDown, StoreRefused
from enactord.core.kv import Changes, KeyChange, prefix_end
from enactord.core.ledger import Bucket
from enactord.core.plan import Manifest, parse_chunk
from enactord.store.cache import Cache
from enactord.store.chunks import read_chunks
from enactord.store.keys import Keys
from enactord.store.ledger_index import read_bucket
from enactord.stores.etcd import EtcdStore
from tests.chaos.checkers import Versions
from tests.chaos.history import Dangling, Deleted, Frozen, History, Known, Plan

REFUSED_AUTHOR = "nemesis-refused"
"""Who publishes, past the guards of publishing, what every enactor must refuse."""

_RETRY_S = 0.1


class StoreView:
    """Follows a scope with a client of its own, straight to every member of the cluster."""

    def __init__(self, endpoints: Sequence[str], history: History) -> None:
        self.keys = Keys(history.scope)
        self.store = EtcdStore.connect(endpoints, timeout_s=2.0)
        self.cache = Cache(self.keys)
        self.versions = Versions([name for names in history.zones.values() for name in names], history.answers_max)
        self.unjudged = 0
        """Deletes that came in one with later changes, after a compaction: nobody can say who needed the plan then."""
        self._history = history
        self._chunks: dict[str, Mapping[str, str]] = {}
        self._frozen: tuple[float, int] | None = None
        self.thawing: float | None = None
        """Set by whoever is about to thaw the scope."""

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if not self.cache.loaded:
                    await self._reload()
                async for changes in self.store.watch(self.keys.root, start_revision=self.cache.revision + 1):
                    await self._take(changes)
            except Compacted:
                self.cache.loaded = False
            except (StoreDown, StoreRefused):
                await asyncio.sleep(_RETRY_S)

    async def close(self) -> None:
        await self.store.close()

    async def current(self) -> int:
        """Wait until this view is no older than the store at the time of the call; returns the revision."""
        while True:
            try:
                page = await self.store.range(self.keys.head)
                break
            except (StoreDown, StoreRefused):
                await asyncio.sleep(_RETRY_S)
        wanted = max([item.mod_revision for item in page.items], default=0)
        while self.cache.revision < wanted:
            await asyncio.sleep(_RETRY_S / 4)
        return page.revision

    def newest_acceptable(self) -> int:
        """The newest plan that enactors may follow."""
        return max((g for g, plan in self._history.plans.items() if not plan.refused), default=0)

    async def _reload(self) -> None:
        """Read all afresh, and take in what differs from what was known."""
        page = await self.store.range(self.keys.root, prefix_end(self.keys.root))
        there = {item.key: item for item in page.items}
        events = [KeyChange(key=key, item=None) for key in sorted(self.cache.items.keys() - there.keys())]
        events += [
            KeyChange(key=item.key, item=item)
            for item in sorted(page.items, key=lambda item: item.mod_revision)
            if self.cache.items.get(item.key) != item
        ]
        plans = self.keys.root + "plans/"
        self.unjudged += sum(event.item is None and event.key.startswith(plans) for event in events)
        await self._take(Changes(revision=page.revision, events=tuple(events)), judged=False)
        self.cache.loaded = True

    async def _take(self, changes: Changes, *, judged: bool = True) -> None:
        """Take in one revision: deletes are judged by what stood before it, the rest by what stands after."""
        at = asyncio.get_running_loop().time()
        root = self.keys.root
        # A name may move from one bucket to another, in one revision: that is no news of the name.
        before: Bucket = {}
        for event in changes.events:
            if event.key.startswith(root + "ledger/"):
                before.update(self._entries(event.key))
        for event in changes.events:
            if event.item is None and event.key.startswith(root + "plans/") and judged:
                generation = int(event.key.rpartition("/")[2])
                needed = tuple(needed_by(self.cache, generation, sorted(self._history.zones)))
                self._history.deleted.append(Deleted(at=at, generation=generation, needed=needed))
        newest_before = self.cache.head
        self.cache.apply(changes)
        for event in changes.events:
            room, _, rest = event.key[len(root) :].partition("/")
            match room:
                case "plans" if event.item is not None:
                    await self._note_plan(at, int(rest))
                case "ledger":
                    self._note_bucket(at, event.key, before)
                case "applied" if event.item is not None:
                    self._note_applied(at, rest)
                case "claims" if event.item is not None:
                    claimed, _, enactor = rest.partition("/")
                    self._note_needed(at, int(claimed), f"claimed by {enactor}")
                case "control" if rest == "freeze":
                    self._note_freeze(at, event, newest_before)
                case _:
                    pass

    async def _note_plan(self, at: float, generation: int) -> None:
        try:
            manifest = self.cache.manifest(generation)
        except PlanUnreadable:  # damaged since
            return
        if manifest is None or generation in self._history.plans:
            return
        try:
            contents = await self._contents(manifest)
        except PlanUnreadable:  # one of its chunks is: nobody can follow it
            return
        plan = Plan(
            at=at,
            generation=generation,
            mark=manifest.mark,
            author=manifest.author,
            refused=manifest.author == REFUSED_AUTHOR,
            contents=contents,
        )
        self._history.plans[generation] = plan
        self.versions.add(plan)

    async def _contents(self, manifest: Manifest) -> dict[str, str]:
        """Name to content of a plan; chunks have come by the watch before the manifest that names them."""
        found: dict[str, str] = {}
        for digest in manifest.digests():
            if digest not in self._chunks:
                packed = self.cache.chunk(digest)
                known = {} if packed is None else {digest: packed}
                while True:
                    try:
                        texts = await read_chunks(self.store, self.keys, [digest], known)
                        break
                    except (StoreDown, StoreRefused):
                        await asyncio.sleep(_RETRY_S)
                self._chunks[digest] = parse_chunk(texts[digest])
            found.update(self._chunks[digest])
        return found

    def _entries(self, key: str) -> Bucket:
        """What stands in a key of the ledger."""
        item = self.cache.items.get(key)
        return {} if item is None else read_bucket(item.value)

    def _note_bucket(self, at: float, key: str, before: Bucket) -> None:
        for name, entry in self._entries(key).items():
            if before.get(name) == entry:
                continue
            if entry.applied is not None and entry.applied.generation:
                self._note_known(at, name, entry.applied.generation)
            if entry.pending is not None:
                self._note_needed(at, entry.pending.generation, f"pending at {name}")

    def _note_applied(self, at: float, zone: str) -> None:
        """A zone conforms to a plan: each of its names that is not held serves that plan's content."""
        generation = self.cache.applied(zone)
        self._history.known.append(Known(at, zone, "", generation))
        held = {entry.name for entry in self.cache.ledger.entries() if entry.held is not None}
        for name in self._history.zones.get(zone, ()):
            if name not in held:
                self._note_known(at, name, generation)

    def _note_known(self, at: float, name: str, generation: int) -> None:
        zone = next(zone for zone, names in self._history.zones.items() if name in names)
        self._history.known.append(Known(at, zone, name, generation))

    def _note_needed(self, at: float, generation: int, by: str) -> None:
        if self.keys.plan(generation) not in self.cache.items:
            self._history.dangling.append(Dangling(at=at, generation=generation, by=by))

    def _note_freeze(self, at: float, event: KeyChange, newest: int) -> None:
        if event.item is not None:
            self._frozen, self.thawing = (at, newest), None
        elif self._frozen is not None:
            begun, newest = self._frozen
            self._history.freezes.append(Frozen(begun=begun, thawing=self.thawing or at, newest=newest))
            self._frozen = None


def needed_by(cache: Cache, generation: int, zones: Sequence[str]) -> list[str]:
    """Who needs a plan, by what the store holds; worked out here, not by the rules of prune."""
    found = [f"claim of {name}" for claimed, name in cache.all_claims if claimed == generation]
    found += [f"applied in {zone}" for zone in zones if cache.applied(zone) == generation]
    found += [f"the fence of {zone}" for zone in zones if cache.fences.get(zone, 0) == generation]
    oldest = min((cache.applied(zone) for zone in zones), default=0)
    for entry in cache.ledger.entries():
        if entry.pending is not None and entry.pending.generation == generation:
            found.append(f"pending at {entry.name}")
        applied, good = entry.applied, entry.good
        if applied is not None and applied.generation == generation:
            if entry.held is not None:
                found.append(f"held at {entry.name}")
            elif generation > oldest:
                found.append(f"applied at {entry.name}, ahead of its zone")
        if good is not None and good != applied and good.generation == generation:
            found.append(f"last known good of {entry.name}")
    return found
