"""A session: an enactor's lease in the store, its presence, and its claims on plans.

A claim is a comparison to put into one's own transaction: the store decides at commit
whether it still lives. Nothing here is asked "do I hold it?".
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from enactord.core.errors import IdTaken, LeaseLost, StoreDown, StoreNotOurs
from enactord.core.kv import Compare, Delete, Item, Operation, Put, absent, present, unmodified, valued
from enactord.ports import Clock, KeyValue, Reading
from enactord.store.keys import Keys, installation_value, json_value, stored_json
from enactord.store.layout import CLAIM, CONFIGURED, ENACTOR
from enactord.store.reports import Report, pack_report

RENEWED_S = 10.0
"""How often an enactor says anew what it does, also where that is as before: who reads it can tell its age, and a
store that takes nothing more is noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The statement "I am applying this generation", alive as long as its lease."""

    generation: int
    key: str
    create_revision: int

    @property
    def lives(self) -> Compare:
        """Holds if this very claim is still there: not one made anew by a later session of the same enactor."""
        return Compare(key=self.key, field="create", operator="=", operand=self.create_revision)


class Session:
    """The lease of one enactor; opened anew when it was lost."""

    def __init__(
        self,
        store: KeyValue,
        keys: Keys,
        clock: Clock,
        *,
        enactor: str,
        ttl_s: int,
        zones: Mapping[str, Sequence[str]] = {},
        mark: str = "",
        installation: Callable[[], str] = lambda: "",
    ) -> None:
        """`zones`: those that the enactor's config has, each with the servers that it names as its primary.

        `mark`: what tells this process from others, which may have the same id in their config. `installation`:
        the id that the store must have; "": any store will do.
        """
        self._store = store
        self._keys = keys
        self._clock = clock
        self.enactor = enactor
        self.ttl_s = ttl_s
        self._zones = zones
        self._mark = mark
        self._installation = installation
        self.lease = 0
        self._facts: dict[str, object] = {}
        self._told_at = 0.0
        self._since = 0.0
        """When what it says of itself last changed."""
        self._present_since = 0
        """The revision that made our presence; 0: it is not there."""

    async def keep(self, facts: dict[str, object]) -> None:
        """Keep the lease alive and say what one does; opens a new lease where the old is gone.

        Raises `IdTaken` where another process is alive under this id; `StoreNotOurs` where the store has not our
        installation's id; `StoreDown`.
        """
        if self.lease:
            try:
                await self._store.keep_alive(self.lease)
            except LeaseLost:
                self.lease = 0
        if not self.lease:
            key = self._keys.enactor(self.enactor)
            await self._make_room((await self._store.get([key])).get(key))
            self.lease = await self._store.grant(self.ttl_s)
            self._facts, self._present_since = {}, 0
        now = self._clock.now()
        if facts != self._facts or not 0 <= now - self._told_at < RENEWED_S:
            self._since = self._since if facts == self._facts else now
            said = json_value(ENACTOR, facts | {"process": self._mark, "since": self._since, "updated_at": now})
            puts: list[Operation] = [Put(key=self._keys.enactor(self.enactor), value=said, lease=self.lease)]
            if not self._present_since:  # it goes with the lease, and does not change
                zones = json_value(CONFIGURED, {zone: list(servers) for zone, servers in self._zones.items()})
                puts.append(Put(key=self._keys.configured(self.enactor), value=zones, lease=self.lease))
            unchanged = Compare(
                key=self._keys.enactor(self.enactor), field="create", operator="=", operand=self._present_since
            )
            try:
                result = await self._store.transact((unchanged, *self._own), puts)
            except LeaseLost:
                self.lease = 0
                return
            if not result.succeeded:
                await self._find_out()
                return
            self._present_since = self._present_since or result.revision
            self._facts, self._told_at = facts, now

    @property
    def process(self) -> str:
        """What tells this process from others."""
        return self._mark

    @property
    def _own(self) -> tuple[Compare, ...]:
        """The store is the one of our installation."""
        installation = self._installation()
        return (valued(self._keys.installation, installation_value(installation)),) if installation else ()

    async def _find_out(self) -> None:
        """Find out why our presence could not be said; where it may be said after all, the next turn does it."""
        key = self._keys.enactor(self.enactor)
        found = await self._store.get([key, self._keys.installation])
        installation, said = self._installation(), found.get(self._keys.installation)
        if installation and (said is None or said.value != installation_value(installation)):
            raise StoreNotOurs("the plan store has not the id of this installation any more")
        item = found.get(key)
        if item is not None and item.lease == self.lease:
            self._present_since = item.create_revision
            return
        self._present_since = 0
        try:
            await self._make_room(item)
        except IdTaken:
            await self.close()
            raise

    async def _make_room(self, item: Item | None) -> None:
        """Remove what is left of a presence of ours. Raises `IdTaken` where it is that of another process."""
        if item is None:
            return
        if item.lease and process_of(item.value) != self._mark:
            raise IdTaken(
                f"another process has the id {self.enactor}, too, and is alive; this one claims no plan until that"
                f" is gone: after a crash, in {self.ttl_s} s at most; if two enactors have the id in their configs,"
                " give each an [enactor] id of its own"
            )
        await self._store.transact((unmodified(item.key, item.mod_revision),), (Delete(key=item.key),))

    async def report(self, report: Report) -> bool:
        """Tell those who publish what is known of the fences, while there is a lease; returns whether it is told.

        Raises `StoreDown`, `LeaseLost`.
        """
        if self.lease:
            put = Put(key=self._keys.report(self.enactor), value=pack_report(report), lease=self.lease)
            await self._store.transact((), (put,))
        return bool(self.lease)

    async def claim(self, generation: int) -> Claim | None:
        """Claim a plan; None if it does not exist (any more). Raises `StoreDown`, `LeaseLost`."""
        if not self.lease:
            raise LeaseLost("the session has no lease yet")
        key = self._keys.claim(generation, self.enactor)
        exists = present(self._keys.plan(generation))
        exists_here = (exists, absent(key), *self._own)
        result = await self._store.transact(
            exists_here, (Put(key=key, value=CLAIM.value(self.enactor.encode()), lease=self.lease),)
        )
        if result.succeeded:
            return Claim(generation=generation, key=key, create_revision=result.revision)
        item = (await self._store.get([key])).get(key)
        if item is None:
            return None
        if item.lease == self.lease:
            return Claim(generation=generation, key=key, create_revision=item.create_revision)
        # Left by an earlier life of this enactor: it must not outlive us, so it is replaced.
        await self._store.transact((), (Delete(key=key),))
        result = await self._store.transact(
            exists_here, (Put(key=key, value=CLAIM.value(self.enactor.encode()), lease=self.lease),)
        )
        return Claim(generation=generation, key=key, create_revision=result.revision) if result.succeeded else None

    async def release(self, claim: Claim) -> None:
        """Let go of a claim; one that is gone already is no error."""
        try:
            await self._store.transact((claim.lives,), (Delete(key=claim.key),))
        except StoreDown:
            pass  # it goes with the lease

    async def release_all_but(self, generations: Container[int], claims: Iterable[tuple[int, str]]) -> None:
        """Let go of this enactor's claims on any other generations, of those that the cache shows.

        A plan that is given up in the moment of claiming it leaves a claim that nobody knows
        of; it would live as long as the lease, and keep its plan from being pruned.
        """
        for claimed, enactor in claims:
            if enactor == self.enactor and claimed not in generations:
                await self._store.transact((), (Delete(key=self._keys.claim(claimed, enactor)),))

    async def close(self) -> None:
        """End the session: its claims and presence go at once."""
        if self.lease:
            try:
                await self._store.revoke(self.lease)
            except StoreDown:
                pass  # it runs out by itself
            self.lease = 0


async def enactors_with(store: Reading, keys: Keys, zone: str) -> list[str]:
    """Return the enactors alive whose config has a zone, or cannot be read."""
    found = await configured_zones(store, keys)
    return [enactor for enactor, zones in found.items() if zones is None or zone in zones]


async def enactors_naming(store: Reading, keys: Keys, zone: str, server: str) -> list[str]:
    """Return the enactors alive whose config names a server as a zone's primary, or cannot be read."""
    found = []
    for enactor, zones in (await configured_zones(store, keys)).items():
        servers = [server] if zones is None else zones.get(zone, [])
        if not isinstance(servers, list) or server in servers:
            found.append(enactor)
    return found


def process_of(presence: bytes) -> str:
    """Return which process says a presence, as it is stored; "" where that cannot be read."""
    facts = stored_json(ENACTOR, presence)
    process = facts.get("process") if isinstance(facts, dict) else None
    return process if isinstance(process, str) else ""


async def configured_zones(store: Reading, keys: Keys) -> dict[str, dict[str, object] | None]:
    """Return the zones of each enactor alive, each with the servers that it names; None where that cannot be read."""
    found: dict[str, dict[str, object] | None] = {}
    for item in (await store.range(*keys.bounds(CONFIGURED))).items:
        zones = stored_json(CONFIGURED, item.value)
        found[keys.split(item.key)[1]] = zones if isinstance(zones, dict) else None
    return found
