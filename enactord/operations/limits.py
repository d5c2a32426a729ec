"""The guards' limits of a scope: shown, and changed by an operator for all enactors at once."""

from difflib import get_close_matches
from typing import Any

from enactord.core.guards import LIMITS, Limits
from enactord.core.guards.ttl import TTL_MAX, TTL_MIN
from enactord.core.kv import Put, absent, valued
from enactord.core.refusal import Refusal
from enactord.core.settings import Key
from enactord.operations import audit
from enactord.operations.scope import Denied, Scope
from enactord.store.audit import Deed, Facts
from enactord.store.layout import LIMITS as KIND
from enactord.store.limits import Ruling, parse_limit, parse_ruling, ruling_value

_ATTEMPTS = 8


def find_key(name: str) -> Key[Any]:
    """Return the key of that name. Raises ValueError, which names those there are."""
    for key in Limits.KEYS:
        if key.name == name:
            return key
    names = [key.name for key in Limits.KEYS]
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? There are" if near else "there are"
    raise ValueError(f"no limit is called {name[:40]!r}: {hint} {', '.join(names)}")


async def set_limit(
    scope: Scope, configured: Limits, name: str, text: str, *, author: str, reason: str
) -> tuple[Ruling, Ruling] | Denied:
    """Give one limit another value; returns the limits in force from now on, and those before.

    Raises ValueError where there is no such limit, or it takes no such value; `StoreDown`.
    """
    key = find_key(name)
    value = parse_limit(key, text)
    where = scope.keys.limits
    for _ in range(_ATTEMPTS):
        item = (await scope.store.get([where])).get(where)
        other = KIND.other_format(item.value) if item else None
        if other is not None:
            return Denied(refusals=(Refusal(guard="format", detail=f"the store holds a {other}"),))
        before = parse_ruling(item.value if item else None, configured)
        limits = before.limits.replaced(**{key.name: value})
        problem = _impossible(limits)
        if problem:
            raise ValueError(problem)
        ruling = Ruling(limits=limits, author=author, reason=reason, at=scope.clock.now())
        compare = valued(where, item.value) if item else absent(where)
        facts: Facts = {"key": name, "before": _text(before.limits[key]), "after": _text(value)}
        entry = audit.entry(scope, Deed.LIMITS, author=author, reason=reason, facts=facts)
        done = await scope.store.transact([compare], [Put(key=where, value=ruling_value(ruling)), entry])
        if done.succeeded:
            await audit.tidy(scope)
            return ruling, before
    return Denied(refusals=(Refusal(guard="contention", detail="others change the limits; look, and try again"),))


def limits_document(ruling: Ruling, configured: Limits) -> dict[str, Any]:
    """Return what the guards allow, with what each limit means, and who set them; `config` is what a config says."""
    return {
        "limits": [
            {
                "key": key.name,
                "value": ruling.limits[key],
                "default": LIMITS[key],
                "config": configured[key],
                "takes": key.takes,
                "meaning": key.meaning,
            }
            for key in Limits.KEYS
        ],
        "author": ruling.author,
        "reason": ruling.reason,
        "at": ruling.at,
        "problem": ruling.problem,
    }


def changed_document(ruling: Ruling, before: Ruling, configured: Limits, name: str) -> dict[str, Any]:
    """Return the limits after one was set, and what it was before."""
    was, now = before.limits.by_name()[name], ruling.limits.by_name()[name]
    changed = {"key": name, "was": was, "now": now, "problem_before": before.problem}
    return limits_document(ruling, configured) | {"changed": changed}


def _text(value: Any) -> str:
    return str(value).lower()


def _impossible(limits: Limits) -> str:
    """Return why no plan could ever pass these limits, or ""."""
    low, high = limits[TTL_MIN], limits[TTL_MAX]
    if low > high:
        return f"{TTL_MIN.name} {low} would be above {TTL_MAX.name} {high}"
    return ""
