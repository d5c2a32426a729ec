"""The copy on local disk: what a repair needs when the store is away, saved as it changes."""

import asyncio

from enactord.core.errors import CopyUnreadable, PlanUnreadable
from enactord.core.events import StepFailed
from enactord.core.kv import Item
from enactord.engine.settings import Ports
from enactord.store.cache import Cache

_PAUSE_S = 0.5


class Copier:
    """Keeps the local copy of one enactor."""

    def __init__(self, ports: Ports, cache: Cache) -> None:
        self._ports = ports
        self._cache = cache
        self._chunks: set[str] = set()
        self.problem = ""
        """Why the copy cannot be used, or changes not be saved; nothing while all is well."""

    async def restore(self) -> None:
        """Start the cache from what was last saved. A copy that cannot be used is told, and counts as empty."""
        try:
            items, chunks = await self._ports.copy.load()
        except CopyUnreadable as error:
            self._fails(str(error))
            return
        self._cache.restore(items, chunks)
        self._chunks = set(chunks)

    async def run(self) -> None:
        """Save changes, at most every half a second."""
        while True:
            await asyncio.sleep(_PAUSE_S)
            await self.save()

    async def save(self) -> None:
        """Save what has changed since the last time. A full disk is reported and tried again."""
        cache = self._cache
        if not cache.dirty or not cache.loaded:
            return
        kinds = {key: cache.keys.split(key)[0] for key in sorted(cache.dirty)}
        changed: dict[str, Item | None] = {
            key: cache.items.get(key) for key, kind in kinds.items() if kind is not None and kind.copied
        }
        wanted = self._wanted_chunks()
        chunks = {digest: packed for digest in sorted(wanted - self._chunks) if (packed := cache.chunk(digest))}
        keep = wanted if self._chunks - wanted else None
        cache.dirty.clear()
        try:
            await self._ports.copy.save(changed, chunks, keep)
        except OSError as error:
            cache.dirty.update(changed)
            self._fails(str(error))
            return
        self.problem = ""
        self._chunks = (self._chunks & wanted) | set(chunks)

    def _fails(self, detail: str) -> None:
        """Tell of a failure, unless the one before it has not ended."""
        if not self.problem:
            self._ports.observer.observe(StepFailed(step="copy", detail=detail, traceback=""))
        self.problem = f"local copy: {detail}"

    def _wanted_chunks(self) -> set[str]:
        """The chunks of the plans that the fences stand at."""
        wanted: set[str] = set()
        for generation in sorted(set(self._cache.fences.values())):
            try:
                manifest = self._cache.manifest(generation)
            except PlanUnreadable:
                continue
            if manifest is not None:
                wanted.update(manifest.digests())
        return wanted
