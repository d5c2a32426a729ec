"""Who asks, and what that token may do: nothing is written without one, and reading is open unless the config says no.

A token comes as `Authorization: Bearer …`. For reading it may also be the password of `Basic`, under the token's
name: a browser can then show the page. Never for writing: a browser sends such a password by itself, also where
a foreign page made it ask.
"""

import base64
import binascii
from http import HTTPStatus
from typing import Any

from aiohttp import web

from enactord.core.tokens import Role, Token, Tokens
from enactord.http.problems import Handler, Problem

OPEN = frozenset({"/healthz", "/readyz"})
"""Read without a token in any case, by who keeps the process alive."""
_READS = frozenset({"GET", "HEAD"})
_BEARER = {"WWW-Authenticate": 'Bearer realm="enactord"'}
_READING = {"WWW-Authenticate": 'Basic realm="enactord", charset="UTF-8", Bearer realm="enactord"'}
"""Source: RFC 7617 section 2; RFC 6750 section 3."""


class Access:
    """The tokens that open something, and whether reading needs one; both change when the config does."""

    def __init__(self, tokens: Tokens, *, read_needs_token: bool) -> None:
        self._tokens = tokens
        self._read_needs_token = read_needs_token

    def retune(self, tokens: Tokens, *, read_needs_token: bool) -> None:
        """Go by these from now on."""
        self._tokens = tokens
        self._read_needs_token = read_needs_token

    def token_of(self, request: web.Request) -> Token | None:
        """Return the token that a request carries; None where it carries none that is known."""
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        match kind.lower():
            case "bearer":
                return self._tokens.of(given.strip())
            case "basic" if request.method in _READS:
                name, _, password = _unpacked(given.strip()).partition(":")
                token = self._tokens.of(password)
                return token if token is not None and token.name == name else None
        return None

    def knows(self, request: web.Request) -> bool:
        """Whether a request carries a token that is known, of any role."""
        return self.token_of(request) is not None

    def shows_all(self, request: web.Request) -> bool:
        """Whether whoever asks may read."""
        return not self._read_needs_token or self.knows(request)

    def require(self, request: web.Request, needed: Role) -> Token:
        """Return the token that an order comes with. Raises `Problem` where it may not order that."""
        if not self._tokens:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"writing over HTTP is off: make a token in the file of http.tokens_file: {_make(needed)}",
            )
        token = self.token_of(request)
        if token is None:
            told = "give a token: Authorization: Bearer …"
            if "Authorization" in request.headers:
                told = f"this token is not known here: it was revoked, or is of others; make another: {_make(needed)}"
            raise Problem(HTTPStatus.UNAUTHORIZED, told, headers=_BEARER)
        if not token.role.may(needed):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"token {token.name} has the role {token.role}, and this needs {needed}; make such a token: "
                f"{_make(needed)}",
                role=token.role.value,
                needed=needed.value,
            )
        return token


def readable(access: Access) -> Any:
    """Return the middleware that lets nobody read without a token, where the config says so."""

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method in _READS and request.path not in OPEN and not access.shows_all(request):
            detail = "reading needs a token here (http.read_needs_token): Authorization: Bearer …"
            raise Problem(HTTPStatus.UNAUTHORIZED, detail, headers=_READING)
        return await handler(request)

    return read


def _make(role: Role) -> str:
    return f"enactorctl token create NAME --role {role}"


def _unpacked(text: str) -> str:
    """Return what base64 stands for, "" where it stands for no text."""
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""
