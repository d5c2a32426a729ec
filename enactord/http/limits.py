"""Limits on what clients may take: requests a second, time, and what every answer's headers allow a browser."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web

from enactord.http.problems import Handler, Problem

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Never limited by rate: who watches over this process must always be answered."""
CLIENTS_MAX = 4096
"""Addresses whose rate is remembered; beyond, the one longest silent is forgotten."""
BURST_S = 2.0
"""A client that was silent for so long may ask as much at once as it could have in that time."""
WRONG_TOKEN_COST = 50.0
"""So many times rarer than without a token may a client ask with a wrong one; by default 4 times a second."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "enactord",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(slots=True)
class _Tokens:
    left: float
    at: float


class Rates:
    """A token bucket for each client's address."""

    def __init__(self, per_s: float, monotonic: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = max(1.0, per_s * BURST_S)
        self._now = monotonic
        self._clients: OrderedDict[str, _Tokens] = OrderedDict()

    def spend(self, client: str) -> float:
        """Take one; returns 0.0, or after how many seconds there will be one."""
        tokens = self._of(client)
        if tokens.left < 1:
            return (1 - tokens.left) / self._per_s
        tokens.left -= 1
        return 0.0

    def _of(self, client: str) -> _Tokens:
        now = self._now()
        tokens = self._clients.pop(client, None) or _Tokens(self._burst, now)
        tokens.left = min(self._burst, tokens.left + (now - tokens.at) * self._per_s)
        tokens.at = now
        self._clients[client] = tokens
        if len(self._clients) > CLIENTS_MAX:
            self._clients.popitem(last=False)
        return tokens


def client_of(request: web.Request) -> str:
    """Return the address that the rate is counted for. No header is believed: anybody can write one."""
    return request.remote or ""


def rated(per_s: float, monotonic: Callable[[], float], trusted: Callable[[web.Request], bool]) -> Any:
    """Return the middleware that refuses a client which asks too often, with 429 and when to come again.

    Never one that is `trusted`: whoever sends wrong tokens from the same address must not keep out the right one.
    Nor those without a token: wrong tokens are counted apart, as a program with an old one may try for ever.
    """
    without = Rates(per_s, monotonic)
    wrong = Rates(per_s / WRONG_TOKEN_COST, monotonic)

    @web.middleware
    async def rate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in PROBES or trusted(request):
            return await handler(request)
        rates, what = (wrong, "wrong tokens") if "Authorization" in request.headers else (without, "requests")
        wait_s = rates.spend(client_of(request))
        if wait_s > 0:
            seconds = math.ceil(wait_s)
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"too many {what} from {client_of(request)}; come again in {seconds} s (http.requests_per_s)",
                headers={"Retry-After": str(seconds)},
            )
        return await handler(request)

    return rate


def timed(timeout_s: float, endless: Callable[[web.Request], bool]) -> Any:
    """Return the middleware that ends a request which takes too long; streams have limits of their own."""

    @web.middleware
    async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
        if endless(request):
            return await handler(request)
        try:
            async with asyncio.timeout(timeout_s):
                return await handler(request)
        except TimeoutError as error:
            if request.content.is_eof():
                detail = (
                    f"not done within {timeout_s:g} s; what was ordered may have been done: look before asking again"
                )
                raise Problem(HTTPStatus.GATEWAY_TIMEOUT, detail) from error
            detail = f"the body did not come within {timeout_s:g} s"
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, detail, headers={"Connection": "close"}) from error

    return limit


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Say on every answer what a browser may do with it, unless it says so itself."""
    for name, value in _HEADERS.items():
        if name == "Server" or name not in response.headers:
            response.headers[name] = value
