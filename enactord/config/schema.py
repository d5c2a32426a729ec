"""The config's JSON Schema, made from the declarations of its keys: editors complete and check by it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from enactord.backends import ALL
from enactord.backends.backend import Backend
from enactord.config.tables import TABLE_ORDER, keys_of
from enactord.config.zone import BACKEND_KEY
from enactord.core import settings as kinds
from enactord.core.settings import Declared, declared
from enactord.wire.address import Address

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """Return the schema. Rules that join several keys are the reader's alone."""
    tables: dict[str, Any] = {name: _table(keys_of(name)) for name in TABLE_ORDER if name != "zone"}
    zone = {"type": "object", "required": ["backend"], "oneOf": [_zone(backend) for backend in ALL.values()]}
    tables["zone"] = {"type": "array", "minItems": 1, "items": zone}
    return {
        "$schema": DIALECT,
        "title": "enactord's config",
        "type": "object",
        "properties": tables,
        "required": ["enactor", "store", "zone"],
        "additionalProperties": False,
    }


def _zone(backend: Backend) -> dict[str, Any]:
    table = _table((BACKEND_KEY, *declared(backend.zone)))
    table["properties"]["backend"] |= {"const": backend.name}
    return table | {"title": backend.name}


def _table(keys: Iterable[Declared]) -> dict[str, Any]:
    listed = list(keys)
    return {
        "type": "object",
        "properties": {key.name: _key(key) for key in listed},
        "required": [key.name for key in listed if key.required],
        "additionalProperties": False,
    }


def _key(key: Declared) -> dict[str, Any]:
    default = shown_default(key)
    more = {} if default is None or key.required else {"default": default}
    return _kind(key.kind) | {"description": key.meaning} | more


def _kind(kind: kinds.Kind) -> dict[str, Any]:
    match kind:
        case kinds.Integer(low, high):
            return {"type": "integer", "minimum": low, "maximum": high}
        case kinds.Number(low, high):
            return {"type": "number", "minimum": low, "maximum": high}
        case kinds.Flag():
            return {"type": "boolean"}
        case kinds.Choice(words):
            return {"enum": list(words)}
        case kinds.Texts() | kinds.Addresses(listed=True):
            return {"type": "array", "items": {"type": "string"}}
        case kinds.Addresses(several=True):
            return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
        case _:
            return {"type": "string"}


def shown_default(key: Declared) -> Any:
    """Return a key's default as a config would state it; None where nothing says the same."""
    match key.default:
        case None | b"" | "" | ():
            return None
        case bool() | int() | float() | str():
            return key.default
        case Path():
            return str(key.default)
        case (Address() as address,):
            return str(address)
    return None
