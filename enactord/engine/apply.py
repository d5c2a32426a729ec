"""Read this first: the way of one plan through one zone.

    watch -> read plan -> guards -> claim -> raise the fence -> diff -> begin, write, read back, record -> settle

`follow.py` watches the store, `choose.py` reads the newest plan and asks the guards. `pipelines.py` sends it through
each zone by itself, so that what holds up one zone holds up no other. This is what happens there.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from enactord.core.errors import LeaseLost, ZoneDown
from enactord.engine.health import ASKED_ASPECTS, FENCE_ASPECTS, Aspect
from enactord.engine.open_zone import open_zone
from enactord.engine.passes import Accepted, Deps, Interrupted, Pass
from enactord.engine.planning import PlanView
from enactord.engine.settle import settle
from enactord.engine.work_through import work_through
from enactord.engine.write import FenceMoved, ZoneDenied
from enactord.store.ledger import Permit


async def apply(plan: Accepted, view: PlanView, zone: str, deps: Deps, *, again: bool) -> int:
    """Bring every endpoint of a zone to the plan, or hold it; returns how many are left unfinished.

    `view`: what has been read of the plan. `again`: names that the zone refused at this generation are tried once more.
    Raises `Interrupted` (start anew), `StoreDown`, `PlanUnreadable`.
    """
    async with deps.zones.place():
        with _interrupting(zone, deps):
            start = asyncio.get_running_loop().time()
            async with deps.claims.on(plan.manifest.generation) as claim:  # store: this plan is not deleted
                if claim is None:
                    raise Interrupted(f"plan {plan.manifest.generation} is gone", judge=True)
                permit = await open_zone(plan, zone, claim, deps)  # store, then DNS: nothing older can land
                deps.health.zone_is_up(zone, *ASKED_ASPECTS, *FENCE_ASPECTS)
                view = await deps.planning.read_zone(view, zone)  # store: the chunks that may differ
                work = _begin(plan, permit, view, deps, again=again)
                await work_through(work, view, deps)  # slices: diff, begin, write, read back, record
                unfinished = await settle(work, view, start)  # store: the zone conforms to this generation
        if not unfinished:
            deps.health.zone_is_up(zone)
        return unfinished


def _begin(plan: Accepted, permit: Permit, view: PlanView, deps: Deps, *, again: bool) -> Pass:
    zone = permit.zone
    return Pass(
        manifest=plan.manifest,
        permit=permit,
        settings=deps.settings,
        ports=deps.ports,
        writer=deps.writers[zone],
        ledger=deps.ledger,
        cache=deps.cache,
        rng=deps.rng,
        wanted=view.wanted,
        outlived=plan.outlived,
        again=again,
        retries=deps.retries,
        left_out=deps.health.evidence.left_out(zone),
        shows=partial(deps.health.kept_ttls.shows, zone),
    )


@contextmanager
def _interrupting(zone: str, deps: Deps) -> Iterator[None]:
    """Turn what ends a pass, and says something of its zone, into `Interrupted`."""
    try:
        yield
    except LeaseLost as error:
        raise Interrupted(str(error)) from error
    except FenceMoved as error:
        raise Interrupted(str(error), judge=True) from error
    except ZoneDown as error:
        deps.health.zone_cannot_be_asked(zone, error)
        raise Interrupted(str(error)) from error
    except ZoneDenied as error:
        deps.health.zone_is_down(zone, Aspect.WRITING, str(error))
        if deps.ports.zones[zone].primaries is not None:
            deps.look(zone)  # another server may be the primary by now
        raise Interrupted(str(error)) from error
