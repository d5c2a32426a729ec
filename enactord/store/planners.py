"""Planners that an operator has paused: what they publish is refused until they are resumed."""

from dataclasses import dataclass

from enactord.core.kv import Delete, Item, Operation, Put, valued
from enactord.core.moment import utc
from enactord.core.refusal import Refusal
from enactord.ports import Transacting
from enactord.store.keys import Keys, json_value, stored_json, stored_word
from enactord.store.layout import PAUSED, OtherFormat

DEFAULT = "default"
"""The planner that whatever names none is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Who paused a planner, why, and when (seconds since the epoch)."""

    reason: str
    author: str
    at: float


def pause_value(pause: Pause) -> bytes:
    """Return what `control/paused/<planner>` holds."""
    return json_value(PAUSED, {"reason": pause.reason, "author": pause.author, "at": pause.at})


def parse_pause(value: bytes) -> Pause:
    """Return a stored pause; one that cannot be read pauses, too: the careful reading of a switch."""
    found = stored_json(PAUSED, value)
    if isinstance(found, OtherFormat):
        return Pause(reason=str(found), author="", at=0.0)
    try:
        author, reason, at = stored_word(found)
    except (ValueError, KeyError, TypeError, OverflowError):
        return Pause(reason="the stored pause is damaged", author="", at=0.0)
    return Pause(reason=reason, author=author, at=at)


def refuse_paused(planner: str, item: Item) -> Refusal:
    """Return the refusal of what a paused planner publishes."""
    pause = parse_pause(item.value)
    by = f" by {pause.author}" if pause.author else ""
    since = f" since {utc(pause.at)}" if pause.at else ""
    detail = (
        f"planner {planner} is paused{since}{by}: {pause.reason}; when its plans are sound:"
        f" enactorctl planner resume {planner}; to publish this one all the same: --approve"
    )
    return Refusal(guard="paused", detail=detail)


def check_planner(name: str) -> str:
    """Return why no planner of that name can be paused, or ""."""
    return "" if name == DEFAULT else f"there is one planner, {DEFAULT}: all that is published is of it"


async def pause(store: Transacting, keys: Keys, planner: str, pause: Pause, *also: Operation) -> None:
    """Refuse what a planner publishes from now on; `also` is done in the same transaction. Raises `StoreDown`."""
    await store.transact((), (Put(key=keys.paused(planner), value=pause_value(pause)), *also))


async def resume(store: Transacting, keys: Keys, planner: str, *also: Operation, paused: bytes | None = None) -> bool:
    """Take a pause back; none is no error. `also` is done in the same transaction. Raises `StoreDown`.

    `paused`: only the pause that is stored so. Returns False, and does nothing, where it is another by now.
    """
    key = keys.paused(planner)
    compares = () if paused is None else (valued(key, paused),)
    return (await store.transact(compares, (Delete(key=key), *also))).succeeded
