"""Overrides as publications: begun, ended by an operator, and ended by enactors when their time is over."""

import asyncio
import random
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from enactord.core.errors import EnactordError, StoreDown, StoreRefused
from enactord.core.events import OverrideStays, StepFailed
from enactord.core.guards import judge_approval
from enactord.core.moment import utc
from enactord.core.overrides import Override
from enactord.core.plan import Approval, Draft, Manifest
from enactord.core.refusal import Refusal
from enactord.operations.override_draft import Wanted, nothing_new, prepare
from enactord.operations.publishing import HOW, How, Published, newest_plan, publish_onto_newest
from enactord.operations.scope import Denied, Scope
from enactord.ports import Observer
from enactord.store.cache import Cache
from enactord.store.keys import parse_applied
from enactord.store.overrides import read_overrides
from enactord.store.plans import Orders

ENACTOR = "enactor"
"""The role of an enactor that ends what is over, in the audit log."""
_LOOKS_APART_S = 2.0
_APART_MAX_S = 300.0
_TOLD_MAX = 5
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")


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
    approval = _approval(scope, prepared.name, author, reason) if approved else None
    if isinstance(approval, Refusal):
        return Denied(refusals=(approval,))
    how = How(dry_run=how.dry_run, fail_on_held=True, stage=how.stage)
    done = await _publish(scope, Orders(author=author, reason=said, override=prepared, approval=approval), how)
    return done if isinstance(done, Denied) else Overridden(override=prepared, published=done)


async def end_override(
    scope: Scope, ident: str, *, author: str, reason: str, approved: bool = False, how: How = HOW
) -> Published | Denied:
    """Publish the newest plan anew without an override: what its planner wants of the name is applied again.

    `approved`: guards that weigh change let that pass. Raises as `publish` does.
    """
    found = (await read_overrides(scope.store, scope.keys)).stored.get(ident)
    if not _ID.match(ident):
        detail = f"{ident[:40]!r} is no id of an override (see: enactorctl override list)"
        return Denied(refusals=(Refusal(guard="override", detail=detail),))
    approval = _approval(scope, found.name, author, reason) if approved and found else None
    if isinstance(approval, Refusal):
        return Denied(refusals=(approval,))
    said = f"override {ident} ended: {reason}"
    return await _publish(scope, Orders(author=author, reason=said, ends=ident, approval=approval), how)


def _approval(scope: Scope, name: str, author: str, reason: str) -> Approval | Refusal:
    """Return an operator's word that one endpoint may change so; or why it is not enough."""
    refusal = judge_approval(author, author, scope.limits)
    return refusal or Approval(of=0, author=author, reason=reason, names=(name,))


async def _publish(scope: Scope, orders: Orders, how: How) -> Published | Denied:
    """Publish the newest plan, as the orders change it. What an operator ordered by it, and still waits, stays."""

    async def drafted(newest: Manifest | None) -> Draft | Refusal:
        return nothing_new(scope.name, newest)

    newest = await newest_plan(scope)
    if newest is not None and newest.ordered and orders.approval is None and await _waits(scope, newest):
        orders = replace(orders, approval=newest.approval, rollback_of=newest.rollback_of)
    return await publish_onto_newest(scope, drafted, orders, how)


async def _waits(scope: Scope, plan: Manifest) -> bool:
    """Whether a zone has not applied a plan yet."""
    keys = [scope.keys.applied(zone) for zone in scope.zones]
    found = await scope.store.get(keys)
    applied = [parse_applied(item.value) for item in found.values()]
    return len(applied) < len(keys) or any(not isinstance(a, tuple) or a[0] < plan.generation for a in applied)


async def end_expired(
    scope: Callable[[], Scope], cache: Cache, enactor: str, observer: Observer, *, apart_s: float = _LOOKS_APART_S
) -> None:
    """End overrides when their time is over, until cancelled. All enactors do; the store lets one of them.

    What is refused is tried again, at longer and longer intervals, and told each time.
    """
    refused = 0
    while True:
        await asyncio.sleep(min(apart_s * 2**refused, _APART_MAX_S) * random.uniform(0.5, 1.5))
        try:
            here = replace(scope(), role=ENACTOR)
            over = [one for one in cache.overrides if one.until <= here.clock.now()]
            stay = [(one, why) for one in over if (why := await _end(here, one, enactor))]
            refused = refused + 1 if stay else 0
            for one, why in stay[:_TOLD_MAX]:
                observer.observe(OverrideStays(override=one.id, name=one.name, detail=why))
        except Exception as error:  # a bug must not keep overrides in force for ever
            refused += 1
            lines = "".join(traceback.format_exception(error))
            observer.observe(StepFailed(step="overrides", detail=repr(error), traceback=lines))


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
    found = "; ".join(str(refusal) for refusal in done.refusals if refusal.guard != "override")
    return found and f"{found}; to end it all the same: enactorctl override end {over.id} --approve --reason …"
