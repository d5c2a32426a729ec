"""An enactor's pages served on a real port, as the daemon serves them."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry

from enactord.config.tables import HttpConfig
from enactord.http.app import Pages, serve_http
from enactord.http.feed import Feed
from enactord.telemetry.metrics import Metrics
from enactord.wire.address import Address
from tests.servers.dns_server import free_port
from tests.tokens import bearer, secret_of, tokens
from tests.world import Member

TOKEN = secret_of("alice")
WRITING = bearer("alice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One enactor's pages, where they are, and a client of them."""

    url: str
    port: int
    pages: Pages
    feed: Feed
    client: aiohttp.ClientSession

    async def get(self, path: str, status: int = 200) -> Any:
        """Return the JSON document of a page, which must answer so."""
        async with self.client.get(path) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json(content_type=None)

    async def post(self, path: str, status: int = 200, **how: Any) -> Any:
        """Order something with the token; returns the answer's document."""
        async with self.client.post(path, **{"headers": WRITING} | how) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json(content_type=None)


@asynccontextmanager
async def serving(
    member: Member, *, trust: ssl.SSLContext | None = None, feed: Feed | None = None, **settings: Any
) -> AsyncIterator[Site]:
    """Serve an enactor's pages while the context lasts; `settings` are those of `[http]`."""
    enactor = member.enactor
    feed = feed or Feed(enactor.ports.clock.now)
    member.recorder.listeners.append(feed.observe)
    config = replace(
        HttpConfig(listen=(Address(host="127.0.0.1", port=free_port()),), tokens=tokens(alice="operator")), **settings
    )
    registry = CollectorRegistry()
    pages = Pages(enactor, Metrics(registry, sorted(enactor.ports.zones)), registry, config, feed)
    url = f"{'https' if config.tls_cert else 'http'}://127.0.0.1:{config.listen[0].port}"
    connector = aiohttp.TCPConnector(ssl=trust or True, limit=0)
    async with serve_http(config, pages), aiohttp.ClientSession(url, connector=connector) as client:
        yield Site(url=url, port=config.listen[0].port, pages=pages, feed=feed, client=client)
