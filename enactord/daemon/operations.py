"""What operators and planners do to a scope: publish, approve, roll back, freeze, adopt, verify, look.

Used by the command line, HTTP and the planner stub alike. A "no" is a value: `Denied`
carries every refusal that was found. Errors of the world are raised (see `core.errors`).
"""

from enactord.daemon.adoption import Adopted, adopt
from enactord.daemon.documents import (
    diff_plans,
    endpoint_document,
    find_entries,
    freeze_document,
    history_document,
    manifest_document,
    owned_contents,
    plan_document,
    plans_document,
    status_document,
)
from enactord.daemon.publishing import Earlier, Held, How, Published, approve, publish, rollback
from enactord.daemon.repairing import repair
from enactord.daemon.verifying import Finding, Verification, verify
from enactord.operations.scope import Denied, Scope, Stage
from enactord.registry import control
from enactord.registry.control import Freeze, parse_freeze

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
    "diff_plans",
    "endpoint_document",
    "find_entries",
    "freeze",
    "freeze_document",
    "history_document",
    "manifest_document",
    "owned_contents",
    "plan_document",
    "plans_document",
    "publish",
    "repair",
    "rollback",
    "status_document",
    "thaw",
    "verify",
]


async def freeze(scope: Scope, *, mode: str, reason: str, author: str) -> Freeze:
    """Freeze the scope ("all" or "repair-only"); an earlier freeze is replaced."""
    assert mode in control.MODES, mode
    frozen = Freeze(mode=mode, reason=reason, author=author, since=scope.clock.now())
    await control.freeze(scope.store, scope.keys, frozen)
    return frozen


async def thaw(scope: Scope) -> Freeze | None:
    """Undo a freeze; returns what it was, None where there was none."""
    item = (await scope.store.get([scope.keys.freeze])).get(scope.keys.freeze)
    await control.thaw(scope.store, scope.keys)
    return None if item is None else parse_freeze(item.value)
