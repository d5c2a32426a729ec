"""Overrides as publications: begun, ended by an operator, and ended by enactors when their time is over."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from enactord.core.errors import EnactordError, StoreDown, StoreRefused
from enactord.core.events import StepFailed
from enactord.core.guards import judge_approval
from enactord.core.moment import utc
from enactord.core.overrides import Override
from enactord.core.plan import Approval, Draft, Manifest
from enactord.core.refusal import Refusal
from enactord.daemon.publishing import HOW, How, Published, publish_onto_newest
from enactord.operations.overriding import Wanted, nothing_new, prepare
from enactord.operations.scope import Denied, Scope
from enactord.ports import Observer
from enactord.registry.mirror import Mirror
from enactord.registry.plans import Orders

ENACTOR = "enactor"
"""The role of an enactor that ends what is over, in the audit log."""
_LOOKS_APART_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overridden:
    """An override that is in force, or with a dry run would be, and the plan that brought it."""

    override: Override
    published: Published

    def document(self) -> dict[str, Any]:
        return self.published.document() | {"override": self.override.document()}


async def override(
    scope: Scope, wanted: Wanted, *, author: str, reason: str, approved: bool = False, how: How = HOW
) -> Overridden | Denied:
    """Publish the newest plan anew with one endpoint overridden, until the time is over.

    Guards judge it as any plan, and where they would hold the endpoint nothing is done; `approved`: but for those
    that weigh change. Raises as `publish` does.
    """
    how.stage("reading")
    prepared = await prepare(scope, wanted, author=author, reason=reason)
    if isinstance(prepared, Refusal):
        return Denied(refusals=(prepared,))
    said = f"override {prepared.name}, {prepared.text()}, until {utc(prepared.until)}: {reason}"
    approval = None
    if approved:
        refusal = judge_approval(author, author, scope.limits)
        if refusal is not None:
            return Denied(refusals=(refusal,))
        approval = Approval(of=0, author=author, reason=reason)
    orders = Orders(author=author, reason=said, override=prepared, approval=approval)
    how = How(dry_run=how.dry_run, fail_on_held=True, stage=how.stage)
    done = await _publish(scope, orders, how)
    return done if isinstance(done, Denied) else Overridden(override=prepared, published=done)


async def end_override(scope: Scope, ident: str, *, author: str, reason: str, how: How = HOW) -> Published | Denied:
    """Publish the newest plan anew without an override: what its planner wants of the name is applied again.

    Raises as `publish` does.
    """
    return await _publish(scope, Orders(author=author, reason=f"override {ident} ended: {reason}", ends=ident), how)


async def _publish(scope: Scope, orders: Orders, how: How) -> Published | Denied:
    async def drafted(newest: Manifest | None) -> Draft | Refusal:
        return nothing_new(scope.name, newest)

    return await publish_onto_newest(scope, drafted, orders, how)


async def end_expired(
    scope: Callable[[], Scope], mirror: Mirror, enactor: str, observer: Observer, *, apart_s: float = _LOOKS_APART_S
) -> None:
    """End overrides when their time is over, until cancelled. All enactors do; the store lets one of them."""
    told: dict[str, str] = {}
    while True:
        await asyncio.sleep(apart_s * random.uniform(0.5, 1.5))
        here = scope()
        now = here.clock.now()
        over = [one for one in mirror.overrides if one.until <= now]
        for one in over:
            problem = await _end(here, one, enactor)
            if problem and told.get(one.id) != problem:
                observer.observe(
                    StepFailed(step="overrides", detail=f"{one.id} of {one.name}: {problem}", traceback="")
                )
            told[one.id] = problem
        told = {one.id: told[one.id] for one in over}


async def _end(scope: Scope, over: Override, enactor: str) -> str:
    """End an override whose time is over; returns why it could not be, or ""."""
    reason = f"its time is over, {over.author} had set it until {utc(over.until)}"
    try:
        done = await end_override(scope, over.id, author=enactor, reason=reason)
    except (StoreDown, StoreRefused):
        return ""  # the store is away: it is told elsewhere, and this is tried again
    except EnactordError as error:
        return str(error)
    if isinstance(done, Published):
        return ""
    return "; ".join(str(refusal) for refusal in done.refusals if refusal.guard != "override")
