"""A zone in memory: the double of `Rfc2136Zone` for simulation and tests.

It gives the same answers as a real server to the same transactions (one contract
suite runs over both), decides each call in one step without awaiting anything, and
holds no clock and no randomness. Delays, losses and doubled messages are the
business of a wrapper around `MemoryZone`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enactord.adapters.wire.update import TooLarge, pack_update
from enactord.core.errors import ZoneDown
from enactord.core.fence import FenceSeen
from enactord.core.names import fence_name
from enactord.core.records import (
    NO_RECORDS,
    Change,
    Committed,
    Expect,
    Outcome,
    Reason,
    Records,
    Refused,
    Served,
    Transaction,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """What stands at one name."""

    records: Records = NO_RECORDS
    alias: str | None = None


_NOTHING = _Node()


class MemoryServer:
    """The state of one zone; every enactor reaches it through its own `MemoryZone`."""

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.fence: FenceSeen = ()
        self.up = True
        self.writes_committed = 0
        self._nodes: dict[str, _Node] = {}

    def put_foreign(self, name: str, *, records: Records = NO_RECORDS, cname: str | None = None) -> None:
        """Edit a name past the fence, as an operator's own tool would; no records and no cname empty it."""
        assert cname is None or records.empty, "a CNAME stands alone (RFC 1034 section 3.6.2)"
        if cname is None and records.empty:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = _Node(records=records, alias=cname)

    def put_fence(self, seen: FenceSeen) -> None:
        """Edit the fence past the fence; () removes it."""
        self.fence = tuple(sorted(seen))

    def wipe(self) -> None:
        """Lose everything, fence included: a zone restored from an empty backup."""
        self._nodes.clear()
        self.fence = ()

    def serve(self, name: str) -> Served:
        node = self._nodes.get(name, _NOTHING)
        return Served(records=node.records, alias=node.alias)

    def names(self) -> tuple[str, ...]:
        """Every name at which something stands, sorted; for checkers."""
        return tuple(sorted(self._nodes))

    def apply(self, transaction: Transaction) -> Outcome:
        """Carry out one transaction, or nothing of it."""
        if tuple(sorted(transaction.fence_seen)) != self.fence:
            return Refused(reason=Reason.CONDITION, detail="NXRRSET")
        if transaction.fence_after is not None and self.serve(fence_name(self.zone)).alias is not None:
            return Refused(reason=Reason.CONDITION, detail="YXRRSET")
        for change in transaction.changes:
            code = self._violated(change)
            if code is not None:
                return Refused(reason=Reason.CONDITION, detail=code)
        if transaction.fence_after is not None:
            self.fence = transaction.fence_after.seen
        for change in transaction.changes:
            self._put(change)
        self.writes_committed += 1
        return Committed()

    def _violated(self, change: Change) -> str | None:
        """Return the rcode of the first requirement of a change that does not hold, else None."""
        node = self._nodes.get(change.name, _NOTHING)
        if node.alias is not None and not change.after.empty:
            return "YXRRSET"
        if change.expect is Expect.NEW and not node.records.empty:
            return "YXRRSET"
        if change.expect is Expect.EXACT and node.records.addresses != change.before.addresses:
            return "NXRRSET"
        return None

    def _put(self, change: Change) -> None:
        if not change.after.empty:
            self._nodes[change.name] = _Node(records=change.after)
        elif self._nodes.get(change.name, _NOTHING).alias is None:
            self._nodes.pop(change.name, None)


class MemoryZone:
    """One enactor's handle on a `MemoryServer`; implements `Zone`."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._closed = False

    async def read_fence(self) -> FenceSeen:
        self._require_up()
        name = fence_name(self._server.zone)
        if self._server.serve(name).alias is not None:
            raise ZoneDown(f"a CNAME stands at {name}: remove it, no fence can stand beside it")
        return self._server.fence

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        self._require_up()
        return {name: self._server.serve(name) for name in names}

    async def write(self, transaction: Transaction) -> Outcome:
        try:
            pack_update(self._server.zone, transaction, 0)
        except TooLarge as error:
            return Refused(reason=Reason.CONTENT, detail=str(error))
        if self._closed or not self._server.up:
            return Refused(reason=Reason.BUSY, detail="closed" if self._closed else "the server is down")
        return self._server.apply(transaction)

    async def close(self) -> None:
        self._closed = True

    def _require_up(self) -> None:
        if self._closed or not self._server.up:
            raise ZoneDown(f"the server of {self._server.zone} is down")
