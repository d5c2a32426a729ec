"""Opening a zone for a plan: its fence is raised, and the ledger is known as it stood then."""

from functools import partial

from enactord.core.fence import Fence, describe_fence
from enactord.engine.health import Aspect
from enactord.engine.passes import Accepted, Deps, Interrupted
from enactord.engine.raise_fence import Raising
from enactord.store.cache import Cache
from enactord.store.ledger import Permit
from enactord.store.ledger_index import OTHER_FORMAT
from enactord.store.session import Claim

SHOWN_WITHIN_S = 5.0
"""How long the watch may take to show what was just stored."""
_ASPECTS = {Raising.FOREIGN: Aspect.IDENTITY, Raising.HELD: Aspect.HELD}
"""What of a zone is not well, by how an attempt to raise its fence ended; the fence is ahead otherwise."""


async def open_zone(plan: Accepted, zone: str, claim: Claim, deps: Deps) -> Permit:
    """Raise the zone's fence to the plan, and wait until the watch shows the ledger as it stood then.

    Raises `Interrupted`, `ZoneDown`, `ZoneDenied`, `StoreDown`.
    """
    manifest, cache = plan.manifest, deps.cache
    fence = Fence(
        scope=deps.settings.scope,
        generation=manifest.generation,
        plan=manifest.mark,
        installation=cache.installation,
        primary=deps.ports.zones[zone].primary,
    )
    raised = await deps.raiser.raise_fence(zone, fence, claim, plan.fences[zone])
    if raised.how is not Raising.RAISED:
        if raised.found is None:
            raise Interrupted(f"{zone}: the store did not let the fence be raised", judge=True)
        detail = raised.problem or describe_fence(zone, raised.found, cache.owner)
        deps.health.fence_is_not_ours(zone, _ASPECTS.get(raised.how, Aspect.FENCE), detail)
        raise Interrupted(detail)
    assert raised.record is not None
    permit = Permit(claim=claim, zone=zone, record=raised.record)
    slots = manifest.part(zone).slots
    # A store that was set back may hold other buckets than its record says.
    if permit.record.slots != slots or not cache.ledger.levels(zone) <= {slots, OTHER_FORMAT}:
        reshaped = await deps.ledger.reshape(permit, slots)
        if reshaped is None:
            raise Interrupted(f"{zone}: the ledger changed while its slots were changed")
        permit = reshaped
    # The watch shows changes in order: with the record it has shown all that came before it, hence
    # every mark that a writer of an older plan left in the ledger.
    if not await cache.wait_until(partial(_shows, cache, permit), SHOWN_WITHIN_S, zone=zone):
        raise Interrupted(f"{zone}: the store's watch does not show our open")
    return permit


def _shows(cache: Cache, permit: Permit) -> bool:
    """Whether the watch has shown the zone's record (or one of a newer plan)."""
    shown = cache.fence(permit.zone)
    return shown is not None and (shown == permit.record or shown.generation > permit.record.generation)
