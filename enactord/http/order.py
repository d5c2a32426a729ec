"""An order over HTTP: who gives it, what its body says, and why.

Whoever orders something is recorded under the token's name. An order under another name is refused.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from enactord.core.tokens import Role, Token
from enactord.http.access import Access
from enactord.http.problems import Handler, Problem, from_outside
from enactord.http.query import Query, bad
from enactord.operations.scope import Denied

Order = Callable[[web.Request, Token], Awaitable[web.StreamResponse]]

TEXT_MAX = 1024
_ORDER_BYTES_MAX = 64 * 1024


def allowed(access: Access, needed: Role, handler: Order, *, queried: bool = False) -> Handler:
    """Return what lets bearers of a token order something, from a role on. `queried`: the handler reads the query."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        token = access.require(request, needed)
        if not queried:
            Query(request)
        return await handler(request, token)

    return from_outside(guarded)


def denied(done: Denied) -> Problem:
    """Return the problem of what was refused by its rules."""
    detail = "; ".join(str(refusal) for refusal in done.refusals)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, **done.document())


async def read_body(request: web.Request, bytes_max: int) -> bytes:
    """Read a JSON body up to a limit, whatever length the client declared, and whatever it calls its type.

    Browsers of other origins are kept out by the token's header, not by the type, which many a client leaves wrong.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        # Some bytes could be unpacked to any size.
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as it is", headers={"Accept-Encoding": "identity"}
        )
    body = bytearray()
    if (request.content_length or 0) <= bytes_max:
        async for data in request.content.iter_chunked(65_536):
            body += data
            if len(body) > bytes_max:
                break
        else:
            return bytes(body)
    detail = f"at most {bytes_max:,} bytes; of a large plan, publish the changes alone with 'base'"
    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, headers={"Connection": "close"})


async def read_order(request: web.Request, known: Sequence[str]) -> dict[str, Any]:
    """Return the object that a body holds; none is an empty one. Raises `Problem` where it has other keys."""
    if not request.can_read_body:
        return {}
    try:
        order = json.loads(await read_body(request, _ORDER_BYTES_MAX) or b"{}")
    except (ValueError, RecursionError) as error:
        raise bad(f"not JSON: {error}") from error
    if not isinstance(order, dict):
        raise bad("must be a JSON object")
    unknown = sorted(set(order) - set(known))
    if unknown:
        raise bad(f"{unknown[0][:40]!r}: unknown key (known: {', '.join(known) or 'none'})")
    return order


def text_of(order: dict[str, Any], key: str, default: str | None = None) -> str:
    """Return a text of an order; `default` where it is left out, None: it must not be."""
    if default is not None and key not in order:
        return default
    value = order.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_MAX or not storable(value):
        raise bad(f"{key}: must be a text of 1 to {TEXT_MAX} characters")
    return value


def flag_of(order: dict[str, Any], key: str, *, default: bool = False) -> bool:
    """Return a flag of an order."""
    value = order.get(key, default)
    if not isinstance(value, bool):
        raise bad(f"{key}: must be true or false")
    return value


def storable(value: str) -> bool:
    """Whether a text can be written as UTF-8: JSON can carry half a surrogate pair, which cannot."""
    return not any("\ud800" <= sign <= "\udfff" for sign in value)


def author_of(order: dict[str, Any], token: Token) -> str:
    """Return whose order it is. Raises `Problem` where it is given in another name: that would be a false record."""
    if order.get("author", token.name) != token.name:
        raise Problem(HTTPStatus.FORBIDDEN, f"author: it is {token.name}, the name of the token; leave it out")
    return token.name
