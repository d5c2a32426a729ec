"""What a look at a zone stands on: the store's record, the zone's own fence, and the plan that is opened there."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from enactord.core.fence import (
    Anchor,
    Fence,
    FenceRecord,
    FenceSeen,
    Stranger,
    Unfenced,
    describe_fence,
    find_stranger,
    out_of_reach,
    parse_fence,
)
from enactord.core.guards import in_step
from enactord.core.plan import Manifest
from enactord.engine.desired import plan_at
from enactord.engine.primaries import PrimaryChoice
from enactord.engine.raise_fence import FenceRaiser, Raising, describe
from enactord.engine.refilling import Refiller
from enactord.engine.settings import Ports, Settings
from enactord.store.cache import Cache

_SHOW_TIMEOUT_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a look at a zone stands on."""

    zone: str
    record: FenceRecord
    manifest: Manifest | None
    """The plan that is opened in the zone; None: it cannot be read."""
    anchor: Anchor
    writable: bool
    recorded: bool
    """Whether the store has the zone's record; else it is made of the fence that stands."""
    suspect: bool = False
    """Whether the zone may hold older content: its fence was brought back just now, or it is on another server."""

    @property
    def whole(self) -> bool:
        """Whether record and plan are there, so that all names can be judged; else only what is empty is refilled."""
        return self.manifest is not None and self.recorded

    @property
    def known(self) -> bool:
        """Whether the fence that stands is the one that is known: under another, only what is emptied is put back."""
        return self.anchor == self.record.txt


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a look found to stand on. `basis` None: nothing can be looked at."""

    basis: Basis | None = None
    problem: str = ""
    """What is wrong with the zone; "": nothing."""
    foreign: bool = False
    """Whether it is that the zone is fenced by another installation, scope or version."""
    held: bool = False
    """Whether it is that an operator holds the zone's fence."""


class BasisFinder:
    """Finds out what a look at a zone stands on, and brings back a fence that is lost."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        cache: Cache,
        opener: FenceRaiser,
        refiller: Refiller,
        choice: PrimaryChoice,
        *,
        store_up: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self._ports = ports
        self._cache = cache
        self._opener = opener
        self._refiller = refiller
        self._choice = choice
        self._store_up = store_up

    async def find(self, zone: str, *, repair: bool) -> Finding:
        """Return what a look goes by, and what is wrong with the zone."""
        settled = await self._choice.settle(zone)
        if settled.problem:
            return Finding(problem=settled.problem)
        record = self._cache.fence(zone)
        recorded = record is not None
        if record is None and not self._cache.ledger.stored(zone):
            return await self._unopened(zone)
        freeze = self._cache.freeze
        writable = repair and (freeze is None or freeze.mode != "all")
        seen = await self._ports.zones[zone].zone.read_fence()
        stranger = find_stranger(seen, self._cache.owner)
        if stranger is not None:
            return Finding(problem=self._described(zone, stranger), foreign=True)
        standing = parse_fence(seen)
        record = record or self._refiller.record(standing)
        if record is None:
            stands = f"the fence {standing.text} stands there" if standing is not None else "the zone has none either"
            return Finding(problem=f"{zone}: the store has lost its fence, and {stands}; publish the next plan")
        if standing is not None and standing.generation > record.txt.generation:
            record = await self._shown(zone, standing) or record
        problem = await self._in_the_way(zone, record, standing)
        if problem:
            # The ledger as we have it says nothing about what should be served.
            return Finding(problem=problem, held=standing is not None and bool(standing.hold))
        manifest = plan_at(self._cache, record)
        lacking = "" if manifest is not None else self._refiller.lacking(zone, record)
        if manifest is None and not self._refiller.settled(zone, record):
            return Finding(problem=lacking)  # followed to a zone ahead of the store: its ledger is older
        basis = Basis(
            zone=zone,
            record=record,
            manifest=manifest,
            anchor=record.txt,
            writable=writable,
            recorded=recorded,
            suspect=settled.moved,
        )
        if seen != record.txt.seen and writable:
            basis, problem = await self._replant(basis, seen)
            basis = replace(basis, suspect=basis.suspect or (basis.writable and basis.known))
        return Finding(basis=basis, problem=problem or lacking)

    async def _unopened(self, zone: str) -> Finding:
        """Look at a zone in which nothing was ever opened, hence nothing is owned: whether it is another's."""
        stranger = find_stranger(await self._ports.zones[zone].zone.read_fence(), self._cache.owner)
        return Finding() if stranger is None else Finding(problem=self._described(zone, stranger), foreign=True)

    async def _in_the_way(self, zone: str, record: FenceRecord, standing: Fence | None) -> str:
        """Return what keeps repair out of a zone: a fence that is held, or newer than anything seen here."""
        limits, newest = self.settings.limits, self._cache.newest
        if zone in self._cache.lowerings:
            return (
                f"{zone}: an operator is bringing its fence down, and nobody else may move it; to finish that:"
                f" enactorctl fence lower {zone} --reason …"
            )
        if not in_step(record.generation, newest, limits):
            return out_of_reach(zone, record.generation, newest)
        if standing is None:
            return ""
        ahead = standing.generation > record.txt.generation
        if ahead and self._store_up():
            known = self._cache.fence(zone)
            if known is None or known.generation < standing.generation:
                return await self._opener.follow(zone, standing) or self._described(zone, standing)
        return self._described(zone, standing) if standing.hold or ahead else ""

    def _described(self, zone: str, fence: Stranger) -> str:
        return describe_fence(zone, fence, self._cache.owner)

    async def _replant(self, basis: Basis, seen: FenceSeen) -> tuple[Basis, str]:
        """Bring back a fence that is not as known; returns what to stand on, and what is wrong with the zone."""
        zone, record = basis.zone, basis.record
        if self._store_up():
            opened = await self._opener.replant(zone, record)
            problem = self._described(zone, opened.found) if opened.found is not None else ""
            return replace(basis, writable=opened.how is Raising.RAISED), problem
        if await self._opener.replant_alone(zone, record, seen):
            return basis, ""
        stands = "the fence record is gone" if not seen else f"at the fence's name stands {describe(seen)}"
        problem = (
            f"{zone}: {stands} and the plan store is away: what is known here may be older than what is served;"
            " only names that are empty are put back"
        )
        return replace(basis, anchor=Unfenced(seen=seen, primary=record.primary)), problem

    async def _shown(self, zone: str, standing: Fence) -> FenceRecord | None:
        """Wait, a moment, for the store to show a fence that stands in the zone: an open raises the store's first."""

        def shown() -> bool:
            record = self._cache.fence(zone)
            return record is not None and record.generation >= standing.generation

        if self._store_up() and not standing.hold:
            await self._cache.wait_until(shown, _SHOW_TIMEOUT_S, zone=zone)
        return self._cache.fence(zone)
