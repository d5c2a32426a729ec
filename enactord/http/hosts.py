"""Host names under which the pages are served: a web page elsewhere must not read them under a name of its own.

DNS rebinding: somebody's name is made to lead to this enactor, and a browser takes the two for one origin. The request
then has that name in its Host header. An address there is no such name, and neither is what the operator lists.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from enactord.http.limits import PROBES
from enactord.http.problems import Handler, Problem

ANY = "*"


def hosted(names: Sequence[str], trusted: Callable[[web.Request], bool]) -> Any:
    """Return the middleware that refuses a request for a name that is not ours, with 421.

    Ours are `names`, "localhost" and the machine's own name. Never refused are probes, and whoever is `trusted`: no
    foreign page has the token.
    """
    machine = socket.gethostname().lower()
    ours = {"localhost", machine, machine.partition(".")[0], *(name.lower().rstrip(".") for name in names)}

    @web.middleware
    async def host(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = _host(request.headers.get("Host", ""))
        known = not name or bool(ours & {name, ANY}) or _is_address(name)
        if known or request.path in PROBES or trusted(request):
            return await handler(request)
        detail = f"the host name {name!r} is not served here; add it to http.hosts"
        raise Problem(HTTPStatus.MISDIRECTED_REQUEST, detail)

    return host


def _host(header: str) -> str:
    """Return the name or address of a Host header, without its port. Source: RFC 9110 section 7.2."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
