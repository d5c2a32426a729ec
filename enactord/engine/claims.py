"""Claims of one enactor, shared by the zones that it works on: one for each plan, for as long as a zone needs it."""

import asyncio
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass

from enactord.registry.session import Claim, Session


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
        self._leaving: set[asyncio.Task[None]] = set()

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
            yield held.claim
        finally:
            held.users -= 1
            if not held.users:
                # In a task of its own: whoever is cancelled while it leaves lets go of the claim all the same.
                leaving = asyncio.create_task(self._let_go(generation, held))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
                await asyncio.shield(leaving)

    async def _let_go(self, generation: int, held: _Held) -> None:
        async with self._lock:
            if held.users or self._held.get(generation) is not held:
                return  # somebody came meanwhile
            del self._held[generation]
            if held.claim is not None:
                await self._session.release(held.claim)

    def lost(self, claim: Claim) -> None:
        """Forget a claim that the store does not have any more: the next user makes another."""
        held = self._held.get(claim.generation)
        if held is not None and held.claim == claim:
            held.claim = None
