"""A zone in memory: the double of `Rfc2136Zone` for simulation and tests.

It gives the same answers as a real server to the same transactions (one contract
suite runs over both): it refuses names, drops types in silence, answers by wildcards,
and answers no more for what a delegation or a DNAME covers. It decides each call in one
step without awaiting anything, and holds no clock and no randomness. Delays, losses and doubled messages are the
business of a wrapper around `MemoryZone`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enactord.core.errors import ZoneDown, ZoneOdd
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
    Unknown,
)
from enactord.wire.update import TooLarge, pack_update


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
        self.negative_ttl_s: int | None = 5
        self.ttl_max_s: int | None = None
        """A higher TTL of an update is lowered to this in silence, as BIND's max-zone-ttl does; None: never."""
        self.writes_committed = 0
        self._nodes: dict[str, _Node] = {}
        self._stars: set[str] = set()
        self._cuts: dict[str, str] = {}
        self._refused: dict[str, Refused | Unknown] = {}
        self._dropped: dict[str, frozenset[str]] = {}

    def put_foreign(self, name: str, *, records: Records = NO_RECORDS, cname: str | None = None) -> None:
        """Edit a name past the fence, as an operator's own tool would; no records and no cname empty it."""
        assert cname is None or records.empty, "a CNAME stands alone (RFC 1034 section 3.6.2)"
        if cname is None and records.empty:
            self._set(name, None)
        else:
            self._set(name, _Node(records=records, alias=cname))

    def put_fence(self, seen: FenceSeen) -> None:
        """Edit the fence past the fence; () removes it."""
        self.fence = tuple(sorted(seen))

    def put_cut(self, owner: str, kind: str = "") -> None:
        """Put a delegation ("NS") or a "DNAME" at a name below the zone's, past the fence; "" removes it."""
        assert owner.endswith("." + self.zone), owner
        if kind:
            self._cuts[owner] = kind
        else:
            self._cuts.pop(owner, None)

    def refuse(self, name: str, outcome: Refused | Unknown | None = None) -> None:
        """Answer so to every update that changes the name, as an update policy does; None: take it again."""
        if outcome is None:
            self._refused.pop(name, None)
        else:
            self._refused[name] = outcome

    def drop(self, name: str, *types: str) -> None:
        """Leave out in silence what an update changes of these types ("A", "AAAA") at the name; none: keep it again.

        PowerDNS does so with what its Lua policy does not permit, and answers success.
        """
        if types:
            self._dropped[name] = frozenset(types)
        else:
            self._dropped.pop(name, None)

    def wipe(self) -> None:
        """Lose everything, fence included: a zone restored from an empty backup."""
        self._nodes.clear()
        self._stars.clear()
        self.fence = ()

    def serve(self, name: str) -> Served:
        """What the server answers for a name; a wildcard's records where nothing is at or below it (RFC 4592)."""
        covered = self._covering(name)
        if covered:
            return Served(records=NO_RECORDS, covered=covered)
        node = self._nodes.get(name)
        encloser = name
        while node is None and self._stars and not self._exists(encloser):
            encloser = encloser.partition(".")[2]
            node = self._nodes.get("*." + encloser)
        node = node or _NOTHING
        return Served(records=node.records, alias=node.alias)

    def holds(self, name: str) -> Records:
        """The addresses that stand at the name itself, whatever is answered for it."""
        return self._nodes.get(name, _NOTHING).records

    def alias_at(self, name: str) -> str | None:
        """The target of a CNAME at the name itself."""
        return self._nodes.get(name, _NOTHING).alias

    def _exists(self, name: str) -> bool:
        return name == self.zone or any(other == name or other.endswith("." + name) for other in self._nodes)

    def _covering(self, name: str) -> str:
        """Return the highest cut that covers the name, as `Served.covered` says it; a DNAME leaves its own name out."""
        for owner in sorted(self._cuts, key=len):
            if name.endswith("." + owner) or (name == owner and self._cuts[owner] == "NS"):
                return f"{self._cuts[owner]} {owner}"
        return ""

    def names(self) -> tuple[str, ...]:
        """Every name at which something stands, sorted; for checkers."""
        return tuple(sorted(self._nodes))

    def apply(self, transaction: Transaction) -> Outcome:
        """Carry out one transaction, or nothing of it."""
        if tuple(sorted(transaction.fence_seen)) != self.fence:
            return Refused(reason=Reason.CONDITION, detail="NXRRSET")
        if transaction.fence_after is not None and self.alias_at(fence_name(self.zone)) is not None:
            return Refused(reason=Reason.CONDITION, detail="YXRRSET")
        required = [
            Change(name=one.name, after=one.records, expect=Expect.EXACT, before=one.records)
            for one in transaction.requires
        ]
        codes = [self._violated(change) for change in transaction.changes]
        codes += [self._violated(change, required=True) for change in required]
        code = next((code for code in codes if code is not None), None)
        if code is not None:
            return Refused(reason=Reason.CONDITION, detail=code, answer=code)
        for change in transaction.changes:
            if change.name in self._refused:
                return self._refused[change.name]
        if transaction.fence_after is not None:
            self.fence = transaction.fence_after.seen
        for change in transaction.changes:
            self._put(change)
        self.writes_committed += 1
        return Committed()

    def _violated(self, change: Change, *, required: bool = False) -> str | None:
        """Return the rcode of the first requirement of a change that does not hold, else None."""
        node = self._nodes.get(change.name, _NOTHING)
        if node.alias is not None and (required or not change.after.empty):
            return "YXRRSET"
        if change.expect is Expect.NEW and not node.records.empty:
            return "YXRRSET"
        if change.expect is Expect.EXACT and node.records.addresses != change.before.addresses:
            return "NXRRSET"
        return None

    def drops(self, name: str) -> bool:
        return name in self._dropped

    def kept(self, change: Change) -> Records:
        """What a change leaves at its name, where what it drops in silence stays as it was."""
        dropped, there = self._dropped.get(change.name, frozenset()), self.holds(change.name)
        a = there.a if "A" in dropped else change.after.a
        aaaa = there.aaaa if "AAAA" in dropped else change.after.aaaa
        ttl_s = there.ttl_s if change.after.empty or (a, aaaa) == there.addresses else change.after.ttl_s
        return Records(ttl_s=ttl_s if a or aaaa else 0, a=a, aaaa=aaaa, weights=change.after.weights)

    def _put(self, change: Change) -> None:
        if change.name in self._dropped:
            change = change._replace(after=self.kept(change))
        if self.ttl_max_s is not None and change.after.ttl_s > self.ttl_max_s:
            change = change._replace(after=change.after._replace(ttl_s=self.ttl_max_s))
        if not change.after.empty:
            self._set(change.name, _Node(records=change.after))
        elif self._nodes.get(change.name, _NOTHING).alias is None:
            self._set(change.name, None)

    def _set(self, name: str, node: _Node | None) -> None:
        stars = self._stars if name.startswith("*.") else set[str]()
        if node is None:
            self._nodes.pop(name, None)
            stars.discard(name)
        else:
            self._nodes[name] = node
            stars.add(name)


class MemoryZone:
    """One enactor's handle on a `MemoryServer`; implements `Zone`."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._closed = False

    async def read_fence(self) -> FenceSeen:
        self._require_up()
        name = fence_name(self._server.zone)
        if self._server.alias_at(name) is not None:
            raise ZoneOdd(f"a CNAME stands at {name}: remove it, no fence can stand beside it")
        return self._server.fence

    async def negative_ttl_s(self) -> int | None:
        self._require_up()
        return self._server.negative_ttl_s

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
