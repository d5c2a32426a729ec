"""Claims of one enactor, shared by the zones that it works on: one for each plan, for as long as a zone needs it."""

import asyncio
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass

from enactord.store.session import Claim, Session


@dataclass(slots=True)
class _Held:
    claim: Claim | None = None
    users: int = 0


class Claims:
    """The claims that are in use."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._held: dict[int, _Held] = {}
        self._lock = asyncio.Lock()

    @property
    def generations(self) -> Set[int]:
        """The generations that are claimed, or about to be."""
        return self._held.keys()

    @asynccontextmanager
    async def on(self, generation: int) -> AsyncIterator[Claim | None]:
        """Hold a claim on a plan; None where the plan does not exist (any more). Raises `StoreDown`, `LeaseLost`."""
        held = self._held.setdefault(generation, _Held())
        held.users += 1
        try:
            async with self._lock:
                if held.claim is None:
                    held.claim = await self._session.claim(generation)
                await self._let_go()
            yield held.claim
        finally:
            held.users -= 1
            if not held.users and not self._lock.locked():  # whoever holds it lets go of what is unused
                async with self._lock:
                    await self._let_go()

    async def _let_go(self) -> None:
        """Release the claims that nobody uses."""
        for generation in [generation for generation, held in self._held.items() if not held.users]:
            claim = self._held.pop(generation).claim
            if claim is not None:
                await self._session.release(claim)

    def lost(self, claim: Claim) -> None:
        """Forget a claim that the store does not have any more: the next user makes another."""
        held = self._held.get(claim.generation)
        if held is not None and held.claim == claim:
            held.claim = None
