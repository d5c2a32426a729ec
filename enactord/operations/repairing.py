"""Repairing by hand: the engine's repairer, run once over every zone."""

import asyncio
import random
from collections.abc import Callable, Mapping

from enactord.core.kv import Item
from enactord.engine.evidence import Evidence
from enactord.engine.health import Health
from enactord.engine.primaries import PrimaryChoice
from enactord.engine.raise_fence import FenceRaiser
from enactord.engine.repair import Look, Repairer
from enactord.engine.settings import Ports, Settings, ZonePorts
from enactord.engine.write import ZoneWriter
from enactord.operations import audit
from enactord.operations.scope import Scope, Unheard, silent
from enactord.store.audit import Deed, Facts


class _NoCopy:
    """No copy on local disk: an operator's command begins and ends with the store."""

    async def load(self) -> tuple[list[Item], dict[str, bytes]]:
        return [], {}

    async def save(self, items: object, chunks: object, keep_chunks: object) -> None:
        """Keep nothing."""


async def repair(
    scope: Scope,
    zones: Mapping[str, ZonePorts],
    settings: Settings,
    *,
    author: str,
    warn: Callable[[str], None] = silent,
) -> list[Look]:
    """Put back what drifted in each zone; returns the looks at them. The audit log is told afterwards.

    `warn` is told where the log could not be.
    Where a name is empty though a write of it is pending, the zones are looked at once more, a moment later.
    Nothing is written while the scope is frozen ("all"). Raises `ZoneDown`, `ZoneDenied`, `StoreDown`.
    """
    observer = Unheard()
    rng = random.Random()
    ports = Ports(store=scope.store, zones=zones, clock=scope.clock, observer=observer, copy=_NoCopy())
    writers = {name: ZoneWriter(zones[name], observer, rng) for name in sorted(zones)}
    cache = await scope.cache()
    opener = FenceRaiser(settings, ports, cache)
    choice = PrimaryChoice(settings, ports, cache, store_up=lambda: True)
    servers = {name: [verifier.server for verifier in zone.verifiers] for name, zone in zones.items()}
    health = Health(observer, Evidence(servers, scope.clock))
    repairer = Repairer(settings, ports, cache, writers, opener, choice, rng, store_up=lambda: True, health=health)
    looks = [await repairer.look(zone, paced=False) for zone in sorted(zones)]
    if repairer.waiting:
        await asyncio.sleep(settings.verify_timeout_s)
        looks += [await repairer.look(zone, paced=False) for zone in sorted(zones)]
    repaired = sorted({name for look in looks for name in look.repaired})
    if repaired:
        facts: Facts = {"names": audit.some_names(repaired), "count": len(repaired)}
        why = await audit.enter(scope, Deed.REPAIR, author=author, facts=facts)
        if why:
            warn(audit.missing(why))
    return looks
