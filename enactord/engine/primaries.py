"""Which server a zone is written on, where its config names several.

The choice stands in the zone's fence record, which every begin compares. So two enactors never write on two
servers under one fence. Another server is chosen only when the one before *says* that it is not the primary
any more: one that is silent may still take the writes of others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from enactord.core.events import PrimaryChosen
from enactord.core.fence import FenceRecord
from enactord.engine.settings import Ports, Settings, ZonePorts
from enactord.ports import Duty, Primaries, Said
from enactord.store.cache import Cache
from enactord.store.fences import Fences
from enactord.store.keys import Keys
from enactord.store.session import enactors_naming

_SHOW_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The end of a look for a zone's primary. `problem`: why it cannot be written to; `moved`: it is another one."""

    problem: str = ""
    moved: bool = False


FINE = Settled()


class PrimaryChoice:
    """Chooses for one enactor."""

    def __init__(self, settings: Settings, ports: Ports, cache: Cache, *, store_up: Callable[[], bool]) -> None:
        self._ports = ports
        self._keys = Keys(settings.scope)
        self._cache = cache
        self._store_up = store_up
        self._fences = Fences(ports.store, self._keys)
        for zone, zone_ports in ports.zones.items():
            if zone_ports.primaries is not None:
                self._follow(zone, zone_ports.primaries)

    async def settle(self, zone: str) -> Settled:
        """See that the zone's server is its primary; choose another one where it says that it is not.

        With the store away, nothing is chosen. Raises `StoreDown`.
        """
        ports = self._ports.zones[zone]
        record = self._cache.fence(zone)
        if record is not None and not ports.names(record.primary):
            return await self._leave(zone, record, ports)
        ways = ports.primaries
        if ways is None or not self._store_up():
            return FINE
        if not ways.decided:
            return await self._find(zone, record, ways)
        said = await ways.duty(ways.current)
        if said.duty is not Duty.OTHER:
            return FINE
        return await self._move(zone, record, ways, said)

    async def _find(self, zone: str, record: FenceRecord | None, ways: Primaries) -> Settled:
        """Find out which server is the primary, where nobody has recorded that; until then nothing is written."""
        name, said = await ways.find()
        return await self._go_over(zone, record, ways, name, said[name].detail) if name else _none(zone, said)

    async def _move(self, zone: str, record: FenceRecord | None, ways: Primaries, was: Said) -> Settled:
        """Choose the next server that says that it is the primary."""
        told = {ways.current: was}
        at = ways.names.index(ways.current)
        for name in (*ways.names[at + 1 :], *ways.names[:at]):
            told[name] = said = await ways.takes_over(name)
            if said.duty is Duty.PRIMARY and said.takes:
                return await self._go_over(zone, record, ways, name, f"{ways.current}: {was.detail}")
        return _none(zone, told)

    async def _go_over(self, zone: str, record: FenceRecord | None, ways: Primaries, name: str, why: str) -> Settled:
        """Write on this server from now on, and record that; of a zone that was never opened, its first plan does."""
        if record is None:
            self._follow(zone, ways, name)
            return Settled(moved=True)
        return Settled(moved=await self._choose(zone, record, name, why))

    async def _leave(self, zone: str, record: FenceRecord, ports: ZonePorts) -> Settled:
        """Choose a server of the config where the one that is written to is not in it: if it is in nobody's."""
        if not self._store_up():
            return Settled(problem=f"{zone}: it is written on {record.primary}, which this config does not name")
        holders = await enactors_naming(self._ports.store, self._keys, zone, record.primary)
        if holders:  # perhaps by what this very enactor said before it was started with another config: for a moment
            problem = (
                f"{zone}: it is written on {record.primary}, as the config of {', '.join(holders[:3])} has it, and this"
                f" config names {', '.join(ports.settings.primaries)}: let all configs name the same servers"
            )
            return Settled(problem=problem)
        if ports.primaries is not None:
            return await self._find(zone, record, ports.primaries)
        return Settled(moved=await self._choose(zone, record, "", f"no config names {record.primary} any more"))

    async def _choose(self, zone: str, record: FenceRecord, name: str, why: str) -> bool:
        """Record the choice, and wait until the cache shows it; whoever chose first is followed."""
        chosen = await self._fences.choose(zone, record, name)
        if chosen is None:
            return False
        self._ports.observer.observe(PrimaryChosen(zone=zone, primary=name, before=record.primary, detail=why))

        def shown() -> bool:
            now = self._cache.fence(zone)
            return now is None or now != record

        await self._cache.wait_until(shown, _SHOW_TIMEOUT_S, zone=zone)
        return True

    def _follow(self, zone: str, ways: Primaries, first: str = "") -> None:
        """Go by the record; until there is one, by a server that was found."""

        def recorded() -> str:
            record = self._cache.fence(zone)
            return "" if record is None else record.primary

        ways.go_by(recorded, first)


def _none(zone: str, told: Mapping[str, Said]) -> Settled:
    words = "; ".join(f"{name}: {said.detail}" for name, said in told.items())
    return Settled(problem=f"{zone}: no server of the config takes its updates as its primary ({words})")
