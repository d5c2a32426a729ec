"""What operators and planners do to a scope: publish, approve, roll back, freeze, adopt, verify, look.

Used by the command line, HTTP and the planner stub alike. A "no" is a value: `Denied`
carries every refusal that was found. Errors of the world are raised (see `core.errors`).
"""

from enactord.core.errors import StoreDown
from enactord.core.moment import utc
from enactord.operations import audit
from enactord.operations.adoption import Adopted, adopt
from enactord.operations.documents import (
    contents_document,
    diff_plans,
    endpoint_document,
    find_entries,
    freeze_document,
    history_document,
    manifest_document,
    owned_contents,
    pauses_document,
    planners_document,
    plans_document,
    resumed_document,
    status_document,
)
from enactord.operations.judging import Held
from enactord.operations.publishing import (
    Earlier,
    How,
    Published,
    approve,
    approve_refused,
    newest_plan,
    publish,
    rollback,
)
from enactord.operations.repairing import repair
from enactord.operations.scope import Denied, Scope, Stage
from enactord.operations.verifying import Finding, Verification, verify
from enactord.store import control, planners
from enactord.store.audit import Deed, Facts
from enactord.store.control import Freeze, parse_freeze
from enactord.store.planners import Pause, parse_pause

__all__ = [
    "Adopted",
    "Denied",
    "Earlier",
    "Finding",
    "Held",
    "How",
    "Published",
    "Scope",
    "Stage",
    "Verification",
    "adopt",
    "approve",
    "approve_refused",
    "contents_document",
    "diff_plans",
    "endpoint_document",
    "find_entries",
    "freeze",
    "freeze_document",
    "history_document",
    "manifest_document",
    "newest_plan",
    "owned_contents",
    "pause",
    "pauses_document",
    "planners_document",
    "plans_document",
    "publish",
    "repair",
    "resume",
    "resumed_document",
    "rollback",
    "status_document",
    "thaw",
    "verify",
]

_ATTEMPTS = 8


async def freeze(scope: Scope, *, mode: str, reason: str, author: str) -> Freeze:
    """Freeze the scope ("all" or "repair-only"); an earlier freeze is replaced. Raises `StoreDown`."""
    assert mode in control.MODES, mode
    frozen = Freeze(mode=mode, reason=reason, author=author, since=scope.clock.now())
    entry = audit.entry(scope, Deed.FREEZE, author=author, reason=reason, facts={"mode": mode})
    await control.freeze(scope.store, scope.keys, frozen, entry)
    await audit.tidy(scope)
    return frozen


async def thaw(scope: Scope, *, author: str, reason: str = "") -> Freeze | None:
    """Undo a freeze; returns what it was, None where there was none. Raises `StoreDown`.

    Where another freeze is stored meanwhile, that is what is undone, and told.
    """
    for _ in range(_ATTEMPTS):
        item = (await scope.store.get([scope.keys.freeze])).get(scope.keys.freeze)
        if item is None:
            return None
        before = parse_freeze(item.value)
        facts: Facts = {
            "frozen_by": before.author,
            "frozen_since": utc(before.since),
            "frozen_for": before.reason,
        }
        entry = audit.entry(scope, Deed.THAW, author=author, reason=reason, facts=facts)
        if await control.thaw(scope.store, scope.keys, entry, frozen=item.value):
            await audit.tidy(scope)
            return before
    raise StoreDown("somebody else freezes the scope again and again; run it again")


async def pause(scope: Scope, planner: str, *, reason: str, author: str) -> Pause:
    """Refuse what a planner publishes until it is resumed; an earlier pause is replaced. Raises `StoreDown`."""
    paused = Pause(reason=reason, author=author, at=scope.clock.now())
    entry = audit.entry(scope, Deed.PAUSE, author=author, reason=reason, facts={"planner": planner})
    await planners.pause(scope.store, scope.keys, planner, paused, entry)
    await audit.tidy(scope)
    return paused


async def resume(scope: Scope, planner: str, *, author: str, reason: str = "") -> Pause | None:
    """Let a planner publish again; returns what its pause was, None where there was none. Raises `StoreDown`.

    Where another pause is stored meanwhile, that is what is taken back, and told.
    """
    key = scope.keys.paused(planner)
    for _ in range(_ATTEMPTS):
        item = (await scope.store.get([key])).get(key)
        if item is None:
            return None
        before = parse_pause(item.value)
        facts: Facts = {"planner": planner, "paused_by": before.author, "paused_for": before.reason}
        entry = audit.entry(scope, Deed.RESUME, author=author, reason=reason, facts=facts)
        if await planners.resume(scope.store, scope.keys, planner, entry, paused=item.value):
            await audit.tidy(scope)
            return before
    raise StoreDown(f"somebody else pauses planner {planner} again and again; run it again")
