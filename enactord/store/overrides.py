"""Overrides in the store. They change with publications alone, so that who compares `head` has them as they are."""

from dataclasses import dataclass
from functools import lru_cache

from enactord.core.content import parse_content
from enactord.core.overrides import PIN, Override, check_override
from enactord.ports import Reading
from enactord.store.keys import Keys, json_value, stored_json, stored_word
from enactord.store.layout import OVERRIDE, OtherFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What is stored, by id, as far as it can be read.

    `unreadable`: ids of what is damaged; `other`: why a publication has to wait for another version.
    """

    stored: dict[str, Override]
    unreadable: tuple[str, ...]
    other: str


def override_value(override: Override) -> bytes:
    """Return what `control/overrides/<id>` holds."""
    return json_value(
        OVERRIDE,
        {
            "name": override.name,
            "kind": override.kind,
            "address": override.address,
            "weight": override.weight,
            "content": override.content,
            "author": override.author,
            "reason": override.reason,
            "at": override.at,
            "until": override.until,
        },
    )


@lru_cache(maxsize=4096)
def parse_override(value: bytes, ident: str) -> Override | OtherFormat | None:
    """Return a stored override; None where it is damaged: nobody can say what it was for, and it is not in force."""
    found = stored_json(OVERRIDE, value)
    if isinstance(found, OtherFormat):
        return found
    try:
        author, reason, at = stored_word(found)
        name, kind, address, content = found["name"], found["kind"], found["address"], found["content"]
        weight, until = found["weight"], float(found["until"])
        if not all(isinstance(text, str) for text in (name, kind, address, content)) or type(weight) is not int:
            return None
        override = Override(
            id=ident,
            name=name,
            kind=kind,
            address=address,
            weight=weight,
            content=content,
            author=author,
            reason=reason,
            at=at,
            until=until,
        )
        if kind == PIN:
            parse_content(content)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return None if check_override(override) else override


async def read_overrides(store: Reading, keys: Keys) -> Overrides:
    """Return the overrides of a scope, those that are over included. Raises `StoreDown`."""
    page = await store.range(*keys.bounds(OVERRIDE))
    found = {ident: parse_override(item.value, ident) for item in page.items for ident in [keys.split(item.key)[1]]}
    others = [one for one in found.values() if isinstance(one, OtherFormat)]
    return Overrides(
        stored={ident: one for ident, one in found.items() if isinstance(one, Override)},
        unreadable=tuple(ident for ident, one in found.items() if one is None),
        other=f"the store holds a {others[0]}" if others else "",
    )
