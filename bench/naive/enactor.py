"""The naive enactor: one check at the start, then a walk over the endpoints under a lock that is correct.

    newest plan -> newer than the last applied? -> each endpoint: lock, build tree, flip alias, unlock
                -> note as applied -> clean up: delete trees much older than the plan just applied

The lock is a TXT record of each endpoint, `<holder> <epoch seconds>`. Each batch begins with the
deletion of exactly the value that was read and the addition of its successor, so that a
batch aborts where the lock has changed; the last batch of a section adds none, which gives the
lock back. A holder that stays away longer than `lock_ttl_s` loses it to the next, and
with it the batch it had still to send. So sections never overlap, and it does not help: the
lock says who writes, and not what.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.naive.layout import (
    address_keys,
    address_rrsets,
    alias_key,
    applied_key,
    lock_key,
    parse_tree,
    rollback_key,
    tree_of,
    trees_of,
)
from bench.naive.ports import Key, NaiveError, Outcome, Plan, Plans, Rrset, Transaction, TreeGone, Zone
from enactord.core.records import Records
from enactord.ports import Clock

_DELETES_MAX = 200
"""Trees that one batch of the clean-up deletes, so that it fits a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an enactor works. Each flag's default is as the outage had it; change it to see what it is to blame for."""

    holder: str
    """Its name in locks; no two enactors share one."""
    poll_s: float = 1.0
    keep_plans: int = 5
    """Generations below the one just applied whose trees the clean-up leaves."""
    lock_ttl_s: int = 30
    backoff_first_s: float = 0.05
    backoff_max_s: float = 60.0
    lock: bool = True
    alias: bool = True
    """False: no trees; a live name holds its records by value, and there is nothing to roll back to or to clean up."""
    rollback_required: bool = True
    """A flip points the rollback alias at what was active, which must therefore be there."""
    clean_up: bool = True
    check_each: bool = False
    """Check before each endpoint instead of once; still not in the write."""


class NaiveEnactor:
    """One of several that all do the same. `say` is told in a line whatever it does."""

    def __init__(
        self,
        settings: Settings,
        zone: Zone,
        plans: Plans,
        *,
        clock: Clock,
        rng: random.Random,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._settings = settings
        self._zone = zone
        self._plans = plans
        self._clock = clock
        self._rng = rng
        self._say = say

    async def run(self) -> None:
        """Apply the newest plan whenever there is a newer one, until cancelled."""
        while True:
            try:
                plan = await self._plans.newest()
                if plan is not None:
                    await self.apply(plan)
            except NaiveError as error:
                self._say(f"failed: {error}")
            await asyncio.sleep(self._settings.poll_s)

    async def apply(self, plan: Plan) -> bool:
        """Apply a plan, and clean up; False: it is not newer than the last applied. Raises `NaiveError`."""
        if plan.generation <= await self.last_applied():
            return False
        self._say(f"plan {plan.generation} begins")
        for name in sorted(plan.endpoints):
            # Nothing asks again whether the plan is still the newest: this is the outage's first hole.
            if self._settings.check_each and plan.generation <= await self.last_applied():
                self._say(f"plan {plan.generation} given up: a newer one is applied")
                return False
            if self._settings.alias:
                await self._install(plan.generation, name, plan.endpoints[name])
            else:
                await self._overwrite(plan.generation, name, plan.endpoints[name])
        await self._note_applied(plan.generation)
        if self._settings.alias and self._settings.clean_up:
            await self._clean_up(plan)
        return True

    async def roll_back(self, names: Iterable[str]) -> None:
        """Flip endpoints back to the trees that were active before. Raises `NaiveError`."""
        for name in sorted(names):
            for attempt in itertools.count():
                held = await self._enter(name)
                assert held is not None
                target = await self._alias(rollback_key(name, self._zone.name))
                if target is None:
                    await self._leave(name, held)
                    raise NaiveError(f"{name} has nothing to roll back to")
                if await self._flip(name, held, target):
                    break
                await self._back_off(attempt)

    async def last_applied(self) -> int:
        """Return the generation of the newest plan that somebody finished applying, 0 for none."""
        key = applied_key(self._zone.name)
        return int(next(iter((await self._zone.read([key]))[key]), "0"))

    # -- one endpoint

    async def _install(self, generation: int, name: str, records: Records) -> None:
        """Build the plan's tree of an endpoint and flip the live name to it."""
        tree = tree_of(generation, name, self._zone.name)
        for attempt in itertools.count():
            held = await self._enter(name, unless=tree, deletes=address_keys(tree), adds=address_rrsets(tree, records))
            if held is None or await self._flip(name, held, tree):
                return
            self._say(f"{name}: lost the lock before the flip to {generation}")
            await self._back_off(attempt)

    async def _overwrite(self, generation: int, name: str, records: Records) -> None:
        """Put a plan's records at the live name itself."""
        lock = lock_key(name, self._zone.name)
        for attempt in itertools.count():
            seen = (await self._zone.read([lock]))[lock]
            if not self._held(seen):
                outcome = await self._batch(
                    name, seen, (), deletes=[alias_key(name), *address_keys(name)], adds=address_rrsets(name, records)
                )
                if outcome is Outcome.DONE:
                    self._say(f"{name}: overwritten by {generation}")
                    return
            await self._back_off(attempt)

    async def _flip(self, name: str, held: tuple[str, ...], tree: str) -> bool:
        """Point the live alias at a tree, the rollback alias at what was active, and give the lock back.

        Returns False if the lock was lost.
        """
        live, rollback = alias_key(name), rollback_key(name, self._zone.name)
        active = await self._alias(live)
        if active == tree:
            return await self._leave(name, held)
        deletes = [live, *address_keys(name)]
        adds = [Rrset(key=live, ttl_s=5, values=(tree,))]
        # Route 53 refuses a batch with an alias to nothing.
        in_use = [tree]
        if active is not None:
            deletes.append(rollback)
            adds.append(Rrset(key=rollback, ttl_s=5, values=(active,)))
            if self._settings.rollback_required:
                # That this one may be gone, the program never thought of: this is what no enactor gets past.
                in_use.append(active)
        outcome = await self._batch(name, held, (), in_use=in_use, deletes=deletes, adds=adds)
        if outcome is Outcome.GONE:
            await self._leave(name, held)
            raise TreeGone(f"{name}: no flip to {tree} with rollback to {active}: one of the two is not there")
        if outcome is Outcome.DONE:
            self._say(f"{name}: flipped from {active or 'nothing'} to {tree}")
        return outcome is Outcome.DONE

    async def _alias(self, key: Key) -> str | None:
        return next(iter((await self._zone.read([key]))[key]), None)

    # -- after all endpoints

    async def _note_applied(self, generation: int) -> None:
        """Raise the number of the last applied plan; it never falls."""
        key = applied_key(self._zone.name)
        while True:
            seen = (await self._zone.read([key]))[key]
            if int(next(iter(seen), "0")) >= generation:
                self._say(f"plan {generation} applied, though {seen[0]} had been before")
                return
            noted = Rrset(key=key, ttl_s=0, values=(str(generation),))
            if await self._zone.transact(Transaction(exactly={key: seen}, deletes=[key], adds=[noted])) is Outcome.DONE:
                self._say(f"plan {generation} applied")
                return

    async def _clean_up(self, plan: Plan) -> None:
        """Delete the trees that are much older than the plan just applied: age is the only evidence asked for."""
        old: dict[str, list[str]] = {}
        for tree in await self._zone.names_below(trees_of(self._zone.name)):
            generation, name = parse_tree(tree, self._zone.name)
            if name in plan.endpoints and generation + self._settings.keep_plans < plan.generation:
                old.setdefault(name, []).append(tree)
        for name, trees in sorted(old.items()):
            for first in range(0, len(trees), _DELETES_MAX):
                await self._delete(name, trees[first : first + _DELETES_MAX])

    async def _delete(self, name: str, trees: Sequence[str]) -> None:
        lock = lock_key(name, self._zone.name)
        for attempt in itertools.count():
            seen = (await self._zone.read([lock]))[lock]
            if not self._held(seen):
                gone = [key for tree in trees for key in address_keys(tree)]
                if await self._batch(name, seen, (), deletes=gone) is Outcome.DONE:
                    self._say(f"{name}: deleted {' '.join(trees)}")
                    return
            await self._back_off(attempt)

    # -- the lock

    async def _enter(
        self, name: str, *, unless: str | None = None, deletes: Sequence[Key] = (), adds: Sequence[Rrset] = ()
    ) -> tuple[str, ...] | None:
        """Take an endpoint's lock, with the first changes under it, however often that must be tried.

        Returns the lock's value; None if the live name already points at the tree `unless`: another enactor was here.
        """
        lock, live = lock_key(name, self._zone.name), alias_key(name)
        for attempt in itertools.count():
            read = await self._zone.read([lock, live])
            if unless is not None and read[live] == (unless,):
                return None
            if not self._held(read[lock]):
                mine = (f"{self._settings.holder} {int(self._clock.now())}",)
                if await self._batch(name, read[lock], mine, deletes=deletes, adds=adds) is Outcome.DONE:
                    return mine
            await self._back_off(attempt)
        raise AssertionError("unreachable")

    async def _leave(self, name: str, held: tuple[str, ...]) -> bool:
        """Give a lock back; False: it was lost."""
        return not self._settings.lock or await self._batch(name, held, ()) is Outcome.DONE

    async def _batch(
        self,
        name: str,
        before: tuple[str, ...],
        after: tuple[str, ...],
        *,
        in_use: Sequence[str] = (),
        deletes: Sequence[Key] = (),
        adds: Sequence[Rrset] = (),
    ) -> Outcome:
        """Send changes of an endpoint that are made only if its lock is exactly `before`, which becomes `after`."""
        if not self._settings.lock:
            return await self._zone.transact(Transaction(exactly={}, in_use=in_use, deletes=deletes, adds=adds))
        lock = lock_key(name, self._zone.name)
        locked = [Rrset(key=lock, ttl_s=0, values=after)] if after else []
        return await self._zone.transact(
            Transaction(exactly={lock: before}, in_use=in_use, deletes=[lock, *deletes], adds=[*locked, *adds])
        )

    def _held(self, seen: Sequence[str]) -> bool:
        """Whether somebody holds the lock, and has not held it for too long."""
        if not self._settings.lock or not seen:
            return False
        _, _, since = seen[0].rpartition(" ")
        return self._clock.now() < int(since) + self._settings.lock_ttl_s

    async def _back_off(self, attempt: int) -> None:
        """Wait, longer each time: who loses often falls far behind, with the same plan in hand."""
        longest_s = min(self._settings.backoff_max_s, self._settings.backoff_first_s * 2.0 ** min(attempt, 30))
        await asyncio.sleep(longest_s * self._rng.uniform(0.5, 1.0))
