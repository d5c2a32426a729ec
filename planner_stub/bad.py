"""Bad plans: one document of each kind that a planner out of order might send."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from enactord.core.content import content_json, parse_content
from enactord.core.plan import PLAN_BYTES_MAX
from planner_stub.fleet import Fleet, plan_document
from planner_stub.names import FIRST_NAME, account_names, choose_names

KINDS = ("empty", "truncated", "duplicate", "shrunk", "stale", "huge", "wrong-digest")

_AUTHOR = "planner-stub"
_DEFAULT_ENDPOINTS = 20
_SHRUNK_TO = 10
"""Of how many endpoints one is left in a shrunk plan."""
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a bad plan is made from: the newest plan's content, or a small fleet's."""

    scope: str
    newest: int
    endpoints: Mapping[str, Any] = field(default_factory=dict)


def basis_of(scope: str, newest: int, contents: Mapping[str, str]) -> Basis:
    """Return the basis of a stored plan's contents (name to content text)."""
    endpoints = {name: content_json(parse_content(contents[name])) for name in sorted(contents)}
    return Basis(scope=scope, newest=newest, endpoints=endpoints)


def default_basis(scope: str = "us-east-1", newest: int = 1) -> Basis:
    """Return the basis for when there is no store: a small fleet."""
    return basis_of(scope, newest, Fleet(choose_names(_DEFAULT_ENDPOINTS), 0).contents())


def bad_plan(kind: str, basis: Basis) -> Iterator[bytes]:
    """Yield the document of a kind, piece by piece: a huge one is never held whole."""
    if kind == "huge":
        yield from _huge(basis)
        return
    text = _text(kind, basis).encode("utf-8")
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def _text(kind: str, basis: Basis) -> str:
    endpoints = dict(basis.endpoints)
    victim = FIRST_NAME if FIRST_NAME in endpoints else min(endpoints)
    document = plan_document(basis.scope, endpoints, author=_AUTHOR)
    match kind:
        case "empty":
            endpoints[victim] = endpoints[victim] | {"targets": []}
        case "truncated":
            text = json.dumps(document, indent=1)
            return text[: len(text) * 2 // 3]
        case "duplicate":
            text = json.dumps(document, indent=1)
            again = f"{json.dumps(victim)}: {json.dumps(endpoints[victim])}"
            return text.replace('"endpoints": {', '"endpoints": {\n  ' + again + ",", 1) + "\n"
        case "shrunk":
            kept = [name for name in sorted(endpoints) if name != victim][: len(endpoints) // _SHRUNK_TO]
            document["endpoints"] = {name: endpoints[name] for name in kept}
        case "stale":
            document["generation"] = max(1, basis.newest - 1)
        case "wrong-digest":
            document["digest"] = "0" * 64
        case _:
            raise AssertionError(kind)
    return json.dumps(document, indent=1) + "\n"


def _huge(basis: Basis) -> Iterator[bytes]:
    """Yield a plan that is whole and valid, but longer than is accepted."""
    head = json.dumps(plan_document(basis.scope, {}, author=_AUTHOR)).removesuffix("}}")
    endpoint = json.dumps(next(iter(basis.endpoints.values())))
    size = len(head)
    yield head.encode()
    pending: list[str] = []
    pending_size = 0
    first = True
    for name in account_names():
        line = f'{"" if first else ","}\n"{name}": {endpoint}'
        first = False
        pending.append(line)
        pending_size += len(line)
        if pending_size >= _PIECE:
            yield "".join(pending).encode()
            size += pending_size
            pending, pending_size = [], 0
            if size > PLAN_BYTES_MAX:
                break
    yield b"}}\n"
