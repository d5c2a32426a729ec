"""What operators do to a scope over HTTP besides publishing and stopping: limits, adoption, pruning, and a look at all
that is served. The same operations as the command line's.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from enactord.core.errors import InvalidName
from enactord.core.names import parse_name
from enactord.core.tokens import Role, Token
from enactord.engine.enactor import Enactor
from enactord.http.access import Access
from enactord.http.order import allowed, author_of, denied, flag_of, read_order, text_of
from enactord.http.query import Query, bad
from enactord.operations.acts import Denied, Scope, adopt, planners_document, repair, verify
from enactord.operations.limits import changed_document, limits_document, set_limit
from enactord.operations.pruning import prune

_NAMES_MAX = 1000


class Steering:
    """Orders that need the enactor's own zones and settings."""

    def __init__(self, enactor: Enactor, scope: Callable[[], Scope], access: Access) -> None:
        """`scope`: returns the scope with the limits that are in force."""
        self._enactor = enactor
        self._scope_now = scope
        self._access = access
        self._alone = asyncio.Semaphore(1)
        """Each reads the whole scope afresh, and asks DNS servers for many names."""

    def _scope(self, token: Token) -> Scope:
        return replace(self._scope_now(), role=token.role.value)

    def routes(self) -> list[web.RouteDef]:
        access, viewer, operator = self._access, Role.VIEWER, Role.OPERATOR
        return [
            web.get("/api/v1/limits", self.limits),
            web.get("/api/v1/planners", self.planners),
            web.post("/api/v1/limits", allowed(access, operator, self.set_limit)),
            web.post("/api/v1/adopt", allowed(access, operator, self.adopt)),
            web.post("/api/v1/prune", allowed(access, viewer, self.prune)),
            web.post("/api/v1/verify", allowed(access, viewer, self.verify)),
        ]

    async def limits(self, request: web.Request) -> web.Response:
        """What the guards allow, and what this enactor's config says of it."""
        Query(request)
        return web.json_response(limits_document(self._enactor.ruling, self._enactor.configured_limits))

    async def planners(self, request: web.Request) -> web.Response:
        """The planners, and which of them are paused, by whom and why."""
        Query(request)
        return web.json_response({"planners": planners_document(self._enactor.cache.paused)})

    async def set_limit(self, request: web.Request, token: Token) -> web.Response:
        """Give one limit another value: {"key": "targets_min", "value": "2", "reason": "…"}."""
        order = await read_order(request, ("key", "value", "reason", "author"))
        configured, author = self._enactor.configured_limits, author_of(order, token)
        key, value, reason = (text_of(order, name) for name in ("key", "value", "reason"))
        try:
            done = await set_limit(self._scope(token), configured, key, value, author=author, reason=reason)
        except ValueError as error:
            raise bad(str(error)) from error
        if isinstance(done, Denied):
            raise denied(done)
        ruling, before = done
        return web.json_response(changed_document(ruling, before, configured, key))

    async def adopt(self, request: web.Request, token: Token) -> web.Response:
        """Enter names into the ledger as they are served: {"names": ["…"]}. A reason may be given."""
        order = await read_order(request, ("names", "reason", "author"))
        names, author = _names(order), author_of(order, token)
        zones = self._enactor.ports.zones
        readers = {name: (ports.zone, ports.settings.answers_max) for name, ports in zones.items()}
        async with self._alone:
            done = await adopt(self._scope(token), names, readers, author=author, reason=text_of(order, "reason", ""))
        if isinstance(done, Denied):
            raise denied(done)
        return web.json_response(done.document())

    async def prune(self, request: web.Request, token: Token) -> web.Response:
        """Delete plans that nothing can need: {"dry_run": true} deletes none. Deleting needs an operator."""
        order = await read_order(request, ("dry_run", "author"))
        dry_run, author = flag_of(order, "dry_run"), author_of(order, token)
        if not dry_run:
            self._access.require(request, Role.OPERATOR)
        async with self._alone:
            done = await prune(self._scope(token), self._enactor.settings.keep, author=author, dry_run=dry_run)
        return web.json_response(done.document())

    async def verify(self, request: web.Request, token: Token) -> web.Response:
        """Ask every verify server for every name: {"repair": true} puts back what drifted, and needs an operator."""
        order = await read_order(request, ("repair", "author"))
        repairs, author = flag_of(order, "repair"), author_of(order, token)
        if repairs:
            self._access.require(request, Role.OPERATOR)
        scope, zones = self._scope(token), self._enactor.ports.zones
        told: dict[str, Any] = {}
        async with self._alone:
            if repairs:
                warnings: list[str] = []
                looks = await repair(scope, zones, self._enactor.settings, author=author, warn=warnings.append)
                told = {"repaired": sorted({name for look in looks for name in look.repaired}), "warnings": warnings}
            servers = {
                name: [(verifier.server, verifier.bulk) for verifier in ports.verifiers]
                for name, ports in zones.items()
            }
            found = await verify(scope, servers)
        return web.json_response(found.document() | told)


def _names(order: dict[str, Any]) -> list[str]:
    names = order.get("names")
    if not isinstance(names, list) or not 0 < len(names) <= _NAMES_MAX:
        raise bad(f"names: must be a list of 1 to {_NAMES_MAX} names")
    try:
        return [parse_name(name) if isinstance(name, str) else _no_text(name) for name in names]
    except InvalidName as error:
        raise bad(f"names: {error}") from error


def _no_text(value: object) -> str:
    raise bad(f"names: {str(value)[:40]!r} is no text")
