"""Entering what is done to a scope into its audit log, in the transaction of the deed or right after it."""

import secrets
from contextlib import suppress

from enactord.core.errors import EnactordError
from enactord.core.kv import Put
from enactord.operations.scope import Scope
from enactord.store.audit import Act, Deed, Facts, act_put, read_acts, trim_acts

_TRIM_ONE_IN = 16
"""Of so many deeds, one looks for entries that are too many: a freeze has no time to read the log each time."""
_NAMES_TOLD = 5


def entry(scope: Scope, deed: Deed, *, author: str, facts: Facts, reason: str = "") -> Put:
    """Return the operation that enters a deed, to be put into the deed's own transaction."""
    now = scope.clock.now()
    act = Act(at=now, author=author, role=scope.role, deed=deed, reason=reason, facts=facts)
    return act_put(scope.keys, act, secrets.token_hex(4))


async def enter(scope: Scope, deed: Deed, *, author: str, facts: Facts, reason: str = "") -> str:
    """Enter a deed that is no transaction of the store, right after it; returns why it could not be, or "".

    The deed is done: that the log cannot be written must not make it look failed.
    """
    try:
        await scope.store.transact((), (entry(scope, deed, author=author, reason=reason, facts=facts),))
    except EnactordError as error:
        return str(error)
    await tidy(scope)
    return ""


async def tidy(scope: Scope) -> None:
    """Now and then, delete the entries that are too many. What fails is left to the next deed."""
    if secrets.randbelow(_TRIM_ONE_IN) == 0:
        with suppress(EnactordError):
            await trim_acts(scope.store, scope.keys, scope.clock.now())


async def acts(scope: Scope, *, limit: int, since: float = 0.0, before: str = "") -> tuple[list[Act], str]:
    """Return the newest entries of the log, newest first, and where to go on. Raises `StoreDown`."""
    return await read_acts(scope.store, scope.keys, limit=limit, since=since, before=before)


def missing(why: str) -> str:
    """Return the warning to whoever did what could not be entered for certain."""
    return f"this act may be missing in the audit log: {why}"


def some_names(names: list[str]) -> str:
    """Return names as a fact: the first of them, and how many more there are."""
    more = len(names) - _NAMES_TOLD
    return " ".join(names[:_NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")
