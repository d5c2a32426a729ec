"""The config of one zone: which backend writes it, and the keys that this backend takes."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from enactord.backends import ALL
from enactord.backends.backend import ZoneConfig
from enactord.core.settings import Choice, Declared, declared

if TYPE_CHECKING:
    from enactord.config.table import Table

BACKEND_KEY = Declared(
    name="backend",
    field="backend",
    kind=Choice(tuple(ALL)),
    default="",
    meaning="How the zone is written.",
    required=True,
)


@cache
def zone_keys() -> tuple[Declared, ...]:
    """Return the keys of [[zone]], each once: those of all backends, then those of one or some."""
    found = {BACKEND_KEY.name: BACKEND_KEY} | {key.name: key for key in declared(ZoneConfig)}
    for backend in ALL.values():
        found |= {key.name: key for key in declared(backend.zone) if key.name not in found}
    return found.pop("name"), *found.values()


@cache
def _takers() -> dict[str, list[str]]:
    """Return the backends that take each key."""
    found: dict[str, list[str]] = {BACKEND_KEY.name: list(ALL)}
    for backend in ALL.values():
        for key in declared(backend.zone):
            found.setdefault(key.name, []).append(backend.name)
    return found


def read_zone(table: "Table", *, before: Sequence[ZoneConfig]) -> ZoneConfig:
    """Read one [[zone]] after those before it; problems are the table's."""
    chosen = table.text("backend", "", required=True, choices=tuple(ALL))
    backend = ALL.get(chosen)
    if backend is None:
        return ZoneConfig(**table.read(ZoneConfig))
    _find_keys_of_others(table, backend.zone)
    zone = backend.zone(**backend.zone.finish(table.read(backend.zone), table))
    if any(one.name == zone.name for one in before):
        table.problem("name", f"{zone.name} is there twice; remove one of the two [[zone]]")
    other = next((one for one in before if type(one) is type(zone)), None)
    for shared in zone.SHARED:
        if other is not None and getattr(other, shared) != getattr(zone, shared):
            table.problem(shared, f"must be the same as of {other.name}: all {chosen} zones share one client")
    return zone


def _find_keys_of_others(table: "Table", zone: type[ZoneConfig]) -> None:
    """Tell the keys that are given and that this backend does not take."""
    for key in table.keys:
        taken_by = _takers().get(key, [])
        if not taken_by or zone.BACKEND in taken_by:
            continue
        why = zone.WITHOUT.get(key)
        if why:
            table.problem(key, f"is not for {zone.BACKEND}: {why}; leave it out")
        else:
            told = f"is not for the backend {zone.BACKEND}, but for {' and '.join(taken_by)}; remove the line"
            table.problem(key, told)


def repair_interval_s(zones: Sequence[ZoneConfig]) -> float:
    """Return the usual pause between two looks: the longest that a zone's backend asks for."""
    return max((zone.REPAIR_INTERVAL_S for zone in zones), default=ZoneConfig.REPAIR_INTERVAL_S)
