"""Fences in the store: the half of an open that the store decides, and the compare that guards all others."""

from enactord.core.errors import StoreUnknown
from enactord.core.fence import Fence
from enactord.core.kv import Compare, Put, absent, present, valued
from enactord.ports import KeyValue
from enactord.registry.keys import Keys, fence_value, pad, parse_fence_value
from enactord.registry.session import Claim


def fence_is(keys: Keys, zone: str, fence: Fence) -> Compare:
    """The store's fence of the zone is exactly this one."""
    return valued(keys.fence(zone), fence_value(fence.generation, fence.plan))


def not_frozen(keys: Keys) -> Compare:
    """No operator has frozen the scope."""
    return absent(keys.freeze)


class Fences:
    """The fences of one scope, as the store has them."""

    def __init__(self, store: KeyValue, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def read(self, zone: str) -> Fence | None:
        """Return the zone's fence in the store."""
        key = self._keys.fence(zone)
        item = (await self._store.get([key])).get(key)
        parsed = parse_fence_value(item.value) if item else None
        return parsed and Fence(scope=self._keys.scope, generation=parsed[0], plan=parsed[1])

    async def open(self, zone: str, fence: Fence, claim: Claim, seen: Fence | None) -> bool:
        """Raise the store's fence to the claimed generation; returns whether it stands there now.

        One transaction: the claim lives, the plan exists, nothing is frozen, the fence is
        the one that the plan was judged by (`seen`, below it). False: frozen, claim or plan
        gone, or the fence has moved.
        """
        key = self._keys.fence(zone)
        stands = absent(key) if seen is None else valued(key, fence_value(seen.generation, seen.plan))
        plan_exists = present(self._keys.plan(fence.generation))
        below = seen is None or seen.generation < fence.generation
        return await self._raise(
            zone, fence, (claim.lives, plan_exists, not_frozen(self._keys)), (stands,) if below else ()
        )

    async def follow(self, zone: str, fence: Fence) -> bool:
        """Raise the store's fence to one that was found in the zone itself, ahead of the store.

        The next publication then takes a generation above both.
        """
        # A VALUE compare on a missing key is false, so the first has a branch of its own. Below means
        # below the padded number: a value of the same generation is longer, hence greater, whatever its mark.
        key = self._keys.fence(zone)
        below = (valued(key, pad(fence.generation).encode("ascii"), "<"), absent(key))
        return await self._raise(zone, fence, (), below)

    async def _raise(
        self, zone: str, fence: Fence, conditions: tuple[Compare, ...], branches: tuple[Compare, ...]
    ) -> bool:
        """Put the fence where the conditions and one of the branches hold, or where garbage stands."""
        key, value = self._keys.fence(zone), fence_value(fence.generation, fence.plan)
        put = Put(key=key, value=value)
        for branch in branches:
            try:
                if (await self._store.transact((*conditions, branch), (put,))).succeeded:
                    return True
            except StoreUnknown:
                pass  # it may have landed: the next compare, or the read below, tells
        item = (await self._store.get([key])).get(key)
        if item is not None and parse_fence_value(item.value) is None:
            # Garbage must not block the way: exactly what was read is replaced.
            return (await self._store.transact((*conditions, valued(key, item.value)), (put,))).succeeded
        return item is not None and item.value == value
