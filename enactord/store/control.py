"""The operator's switch: freeze and thaw, with reason and author."""

from dataclasses import dataclass

from enactord.core.kv import Delete, Operation, Put, valued
from enactord.ports import Transacting
from enactord.store.keys import Keys, json_value, stored_json, stored_word
from enactord.store.layout import FREEZE, OtherFormat

MODES = ("all", "repair-only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """`mode` "all": nothing is written; "repair-only": no plan is applied, drift is repaired."""

    mode: str
    reason: str
    author: str
    since: float


def freeze_value(freeze: Freeze) -> bytes:
    """Return what `control/freeze` holds."""
    document = {"mode": freeze.mode, "reason": freeze.reason, "author": freeze.author, "since": freeze.since}
    return json_value(FREEZE, document)


UNREADABLE = "the stored freeze is damaged; when nobody needs it: enactorctl thaw"


def parse_freeze(value: bytes) -> Freeze:
    """Return a stored freeze; what cannot be read freezes all: the careful reading of a switch."""
    found = stored_json(FREEZE, value)
    if isinstance(found, OtherFormat):
        return Freeze(mode="all", reason=f"{found}, or thaw with: enactorctl thaw", author="", since=0.0)
    try:
        mode, (author, reason, since) = found["mode"], stored_word(found, "since")
        if mode in MODES:
            return Freeze(mode=mode, reason=reason, author=author, since=since)
    except (ValueError, KeyError, TypeError, OverflowError):
        pass
    return Freeze(mode="all", reason=UNREADABLE, author="", since=0.0)


async def freeze(store: Transacting, keys: Keys, freeze: Freeze, *also: Operation) -> None:
    """Freeze the scope: every later store transaction of every plan compares this key.

    `also` is done in the same transaction.
    """
    await store.transact((), (Put(key=keys.freeze, value=freeze_value(freeze)), *also))


async def thaw(store: Transacting, keys: Keys, *also: Operation, frozen: bytes | None = None) -> bool:
    """Undo a freeze; none is no error. `also` is done in the same transaction.

    `frozen`: only the freeze that is stored so. Returns False, and does nothing, where it is another by now.
    """
    compares = () if frozen is None else (valued(keys.freeze, frozen),)
    return (await store.transact(compares, (Delete(key=keys.freeze), *also))).succeeded
