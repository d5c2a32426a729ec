"""A session: an enactor's lease in the store, its presence, and its claims on plans.

A claim is a comparison to put into one's own transaction: the store decides at commit
whether it still lives. Nothing here is asked "do I hold it?".
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from enactord.core.errors import LeaseLost, StoreDown
from enactord.core.kv import Compare, Delete, Operation, Put, absent, present
from enactord.ports import Clock, KeyValue, Reading
from enactord.registry.keys import Keys, json_value, stored_json
from enactord.registry.reports import Report, pack_report
from enactord.store.layout import CLAIM, CONFIGURED, ENACTOR


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
    ) -> None:
        """`zones`: those that the enactor's config has, each with the servers that it names as its primary."""
        self._store = store
        self._keys = keys
        self._clock = clock
        self.enactor = enactor
        self.ttl_s = ttl_s
        self._zones = zones
        self.lease = 0
        self._facts: dict[str, object] = {}

    async def keep(self, facts: dict[str, object]) -> None:
        """Keep the lease alive and say what one does; opens a new lease where the old is gone."""
        if self.lease:
            try:
                await self._store.keep_alive(self.lease)
            except LeaseLost:
                self.lease = 0
        if not self.lease:
            self.lease = await self._store.grant(self.ttl_s)
            self._facts = {}
        if facts != self._facts:
            said = json_value(ENACTOR, facts | {"updated_at": self._clock.now()})
            zones = json_value(CONFIGURED, {zone: list(servers) for zone, servers in self._zones.items()})
            puts: list[Operation] = [
                Put(key=self._keys.enactor(self.enactor), value=said, lease=self.lease),
                Put(key=self._keys.configured(self.enactor), value=zones, lease=self.lease),
            ]
            try:
                await self._store.transact((), puts)
            except LeaseLost:
                self.lease = 0
                return
            self._facts = facts

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
        result = await self._store.transact(
            (exists, absent(key)), (Put(key=key, value=CLAIM.value(self.enactor.encode()), lease=self.lease),)
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
            (exists, absent(key)), (Put(key=key, value=CLAIM.value(self.enactor.encode()), lease=self.lease),)
        )
        return Claim(generation=generation, key=key, create_revision=result.revision) if result.succeeded else None

    async def release(self, claim: Claim) -> None:
        """Let go of a claim; one that is gone already is no error."""
        try:
            await self._store.transact((claim.lives,), (Delete(key=claim.key),))
        except StoreDown:
            pass  # it goes with the lease

    async def release_all_but(self, generations: Container[int], claims: Iterable[tuple[int, str]]) -> None:
        """Let go of this enactor's claims on any other generations, of those that the mirror shows.

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


async def configured_zones(store: Reading, keys: Keys) -> dict[str, dict[str, object] | None]:
    """Return the zones of each enactor alive, each with the servers that it names; None where that cannot be read."""
    found: dict[str, dict[str, object] | None] = {}
    for item in (await store.range(*keys.bounds(CONFIGURED))).items:
        zones = stored_json(CONFIGURED, item.value)
        found[keys.split(item.key)[1]] = zones if isinstance(zones, dict) else None
    return found
