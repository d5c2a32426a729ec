"""Following the store: the watch cache is kept current, and the session alive. Each checks the other."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from enactord.core.errors import Compacted, IdTaken, LeaseLost, StoreDown, StoreNotOurs, StoreRefused
from enactord.engine.claims import Claims
from enactord.engine.health import Health
from enactord.engine.pace import Backoff
from enactord.ports import KeyValue
from enactord.store.cache import Cache
from enactord.store.session import RENEWED_S, Session

_IDLE_S = 1.0
_RETRY_FIRST_S = 0.05
_RETRY_CAP_S = 5.0
_RELOAD_S = 300.0
"""A full re-read of the store, whatever the watch says: watches have lost events (etcd 3.4.31, 3.4.36)."""


class Follower:
    """Follows the store for one enactor."""

    def __init__(
        self,
        store: KeyValue,
        cache: Cache,
        session: Session,
        claims: Claims,
        health: Health,
        rng: random.Random,
        *,
        claim_ttl_s: float,
        facts: Callable[[], dict[str, Any]],
    ) -> None:
        """`facts`: what the enactor says of itself to the others, at each renewal of its lease."""
        self._store = store
        self._cache = cache
        self._session = session
        self._claims = claims
        self._health = health
        self._rng = rng
        self._claim_ttl_s = claim_ttl_s
        self._facts = facts
        self._reload = asyncio.Event()

    async def follow(self) -> None:
        """Keep the cache current; when the store is away, say so and go on from where it was."""
        backoff = Backoff(self._rng, first_s=_RETRY_FIRST_S, cap_s=_RETRY_CAP_S)
        while True:
            try:
                if self._cache.loaded:
                    # To resume a watch does not prove that the store answers: without this read, a dead store would
                    # count as up at each attempt. Meanwhile the store may have become another one, too.
                    await self._check_same_store()
                else:
                    await self._cache.load(self._store)
                    self._reload.clear()
                self._store_is_up()
                backoff.reset()
                await self._follow_until_reload()
            except Compacted:
                self._cache.loaded = False
            except StoreNotOurs as error:
                self._cache.loaded = False
                self._health.store_is_refused(str(error))
                await asyncio.sleep(backoff.next_s())
            except (StoreDown, StoreRefused) as error:
                self._health.store_is_down(error)
                await asyncio.sleep(backoff.next_s())

    async def _check_same_store(self) -> None:
        """Ask for the installation's id; a store that shows another, or none, is read afresh, and judged by that."""
        known = self._cache.stored_installation
        item = (await self._store.get([self._cache.keys.installation])).get(self._cache.keys.installation)
        if (item and item.value) != (known and known.value):
            await self._cache.load(self._store)

    async def _follow_until_reload(self) -> None:
        """Follow the watch; return when a reload is asked for or due."""
        following = asyncio.create_task(self._cache.follow(self._store))
        reload = asyncio.create_task(self._reload.wait())
        try:
            await asyncio.wait({following, reload}, timeout=_RELOAD_S, return_when=asyncio.FIRST_COMPLETED)
            self._cache.loaded = False
            if following.done():
                self._cache.loaded = True
                following.result()
        finally:
            for task in (following, reload):
                task.cancel()
            await asyncio.gather(following, reload, return_exceptions=True)

    async def keep_session(self) -> None:
        """Keep the lease, and check that the watch has not lost its way."""
        while True:
            if not self._cache.knows_installation:
                await self._cache.wait_until(lambda: self._cache.knows_installation, _IDLE_S)
                continue
            try:
                await self._session.keep(self._facts())
                self._health.note_id("")
                await self._session.release_all_but(self._claims.generations, self._cache.all_claims)
                await self._check_watch()
                self._store_is_up()
            except (StoreDown, StoreRefused) as error:
                self._health.store_is_down(error)
            except LeaseLost:
                continue
            except IdTaken as error:
                self._health.note_id(str(error))
                await asyncio.sleep(min(_IDLE_S, self._claim_ttl_s / 3))
                continue
            except StoreNotOurs:
                self._reload.set()  # to read it afresh tells more
            await asyncio.sleep(min(RENEWED_S, self._claim_ttl_s / 3))

    async def _check_watch(self) -> None:
        """Ask for the newest plan; a cache that is behind it, or ahead of the store, is read afresh."""
        before = self._cache.revision
        page = await self._store.range(self._cache.keys.head)
        if not self._cache.loaded:
            return
        if page.revision < before:
            self._reload.set()  # the store is older than what we saw: restored from a backup
            return
        if page.items and page.items[0].mod_revision > self._cache.revision:
            wanted = page.items[0].mod_revision
            if not await self._cache.wait_until(lambda: self._cache.revision >= wanted, _IDLE_S):
                self._reload.set()

    def _store_is_up(self) -> None:
        if self._cache.loaded:
            self._health.store_is_up(self._cache.revision)
