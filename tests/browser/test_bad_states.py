"""Bad states on real servers: `/readyz`, `status`, the page and the API say what an outside observer sees.

Each state is brought about on real etcd and BIND, with a secondary that is verified; the page is open in Chromium
all the while. Nobody may call well what is not: neither a name that is served otherwise than the newest plan says,
nor a scope in which something is wrong. Once the state has ended, all of them say so.

A few of them are tried every day, all of them by `make states`.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import dns.asyncquery
import dns.exception
import dns.message
import pytest
from playwright.async_api import Page

from tests.browser.chromium import View, chromium, view
from tests.deploy.process import Service, service
from tests.faults.declared import FAULTS
from tests.faults.ground import Ground
from tests.servers.dns_server import DnsServer, free_port
from tests.world import ZONE

pytestmark = pytest.mark.timeout(300)

_LIMIT_S = 40.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What everybody says at one moment."""

    ready: dict[str, Any]
    status: dict[str, Any] | None
    """None: the store cannot be asked."""
    api: dict[str, Any]
    level: str
    verdict: str
    points: list[str]
    wrong: frozenset[str]
    """Names that some server of the zone serves otherwise than the last plan that was applied, by its own answers."""
    silent: frozenset[str]
    """Servers that do not answer the observer."""

    @property
    def said(self) -> str:
        return "; ".join([*self.ready["reasons"], *self.ready["notes"]])


class Site(Ground):
    """The ground with one enactor, and a page that stays open."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        super().__init__(folder, stack)
        self.view: View
        self.page: Page
        self.client: aiohttp.ClientSession
        self.service: Service

    async def start(self) -> None:
        await self.start_servers()
        http_port = free_port()
        self.config = self.victim = self.write_config("e1", http_port)
        self.state = self.folder / "e1"
        self.service = await self.stack.enter_async_context(service(self.config))
        await self.service.until(lambda: self.service.event("started"))
        url = f"http://127.0.0.1:{http_port}"
        self.client = await self.stack.enter_async_context(aiohttp.ClientSession(url))
        browser = await self.stack.enter_async_context(chromium())
        self.view = await self.stack.enter_async_context(view(browser, url))
        self.page = self.view.page
        await self.publish(self.applied)
        await self.until_well()

    def reread(self) -> None:
        self.service.signal(signal.SIGHUP)

    # -- eyes

    async def _dig(self, server: DnsServer) -> dict[str, frozenset[str]] | None:
        """What a server serves by name; None: it does not answer."""
        found = {}
        for name in self.applied:
            try:
                query = dns.message.make_query(name, "A")
                answer = await dns.asyncquery.udp(query, "127.0.0.1", timeout=0.7, port=server.port)
            except (dns.exception.DNSException, OSError):
                return None
            found[name] = frozenset(rdata.to_text() for rrset in answer.answer for rdata in rrset)
        return found

    async def see(self) -> Seen:
        """Ask everybody once."""
        dug = {server.port: await self._dig(server) for server in (self.primary, self.secondary)}
        wrong = {
            name
            for served in dug.values()
            for name, addresses in (served or {}).items()
            if addresses != frozenset(self.applied[name])
        }
        ready, api = [await self._get(path) for path in ("/readyz", "/api/v1/endpoints?limit=500")]
        return Seen(
            ready=ready,
            status=await self.ctl("status", code=None),
            api={endpoint["name"]: endpoint for endpoint in api["endpoints"]},
            level=await self.page.evaluate("() => document.body.dataset.level"),
            verdict=await self.page.locator("#verdict").inner_text(),
            points=await self.page.locator("#points > li").all_inner_texts(),
            wrong=frozenset(wrong),
            silent=frozenset(f"127.0.0.1:{port}" for port, served in dug.items() if served is None),
        )

    async def _get(self, path: str) -> Any:
        async with self.client.get(path) as answer:
            return await answer.json()

    async def until(self, agreed: Callable[[Seen], str]) -> Seen:
        """Ask until nothing is missing; `agreed` says what is, and "" at the end."""
        deadline = asyncio.get_running_loop().time() + _LIMIT_S
        while True:
            seen = await self.see()
            missing = agreed(seen)
            if not missing:
                return seen
            assert asyncio.get_running_loop().time() < deadline, f"{missing}: {seen}"
            await asyncio.sleep(0.2)

    async def until_well(self) -> None:
        await self.until(_not_well)


def _not_well(seen: Seen) -> str:
    """Say who does not call all well; "": all of them do, and the observer sees the same."""
    status = seen.status or {}
    checks = {
        "dig": not seen.wrong and not seen.silent,
        "readyz": seen.ready["status"] == "ready",
        "status": not status.get("problems", ["?"]) and [zone["state"] for zone in status["zones"]] == ["applied"],
        "api": all(endpoint["served"]["state"] == "well" for endpoint in seen.api.values()),
        "page": seen.level == "ok",
    }
    return ", ".join(who for who, well in checks.items() if not well)


def _not_told(seen: Seen, words: str, verdict: str, *, note: bool = False, store: bool = True) -> str:
    """Say who does not tell of a state yet."""
    status = seen.status or {}
    told = {
        "readyz": words in seen.said and (note or seen.ready["status"] == "degraded"),
        "page": seen.level not in ("ok", "busy") and verdict in seen.verdict,
        # A freeze has a banner of its own.
        "its points": note or "Frozen" in seen.verdict or any(words in point for point in seen.points),
        # Neither says well of a name that the observer sees otherwise.
        "api": not any(seen.api[name]["served"]["state"] == "well" for name in seen.wrong if name in seen.api),
    }
    if store:
        told["status"] = note or any(words in problem for problem in status.get("problems", ()))
    return ", ".join(who for who, does in told.items() if not does)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is said of a fault while it lasts, and what the page says first."""

    words: str
    verdict: str
    note: bool = False
    """Whether it is a note, and no reason to be degraded."""
    store: bool = True
    """Whether the command line can ask the store meanwhile."""
    wrong: bool = False
    """Whether the observer sees names served otherwise."""


STATES: dict[str, dict[str, Told]] = {
    "names": {
        "emptied and frozen": Told(words="frozen (all)", verdict="Frozen", wrong=True),
        "drifted and frozen": Told(words="frozen (all)", verdict="Frozen", wrong=True),
        "another TTL and frozen": Told(words="frozen (all)", verdict="Frozen"),
        "a CNAME stands there": Told(words="", verdict="served otherwise", note=True, wrong=True),
        "a delegation covers it": Told(words="is held (covered)", verdict="held", note=True, wrong=True),
        "held": Told(words="is held (targets_min)", verdict="held", note=True),
        "a plan is refused": Told(words="is refused", verdict="is refused"),
        "the planner is paused": Told(words="is paused", verdict="needs a look", note=True),
    },
    "zone": {
        "the secondary is behind": Told(words="is behind since", verdict="serves older content", wrong=True),
        "the secondary is away": Told(words="has not answered since", verdict="does not answer"),
        "the secondary hangs": Told(words="has not answered since", verdict="does not answer"),
        "the primary is away": Told(words="cannot connect", verdict="cannot be worked on"),
        "the primary hangs": Told(words=ZONE, verdict="cannot be worked on"),
        "an operator holds the zone": Told(words="fence held by an operator", verdict="An operator holds", wrong=True),
        "a fence of another scope": Told(words="another scope", verdict="another"),
        "a fence of another installation": Told(words="another installation", verdict="another"),
        "a fence of another version": Told(words="version", verdict="another"),
        "a fence far above": Told(words="out of reach", verdict="cannot be worked on"),
    },
    "store": {
        "the store is away": Told(words="store:", verdict="plan store does not answer", store=False),
        "the store hangs": Told(words="store:", verdict="plan store does not answer", store=False),
        "the store has no room": Told(words="database space exceeded", verdict="has no room", store=False),
        "frozen": Told(words="frozen (repair-only)", verdict="Frozen"),
        "a value of another version": Told(words="format 2", verdict="needs a look"),
        "a config that is refused": Told(words="repair.interval_s", verdict="needs a look", store=False),
        "no copy on local disk": Told(words="local copy", verdict="needs a look"),
    },
}


SHORT = (
    "drifted and frozen",
    "a CNAME stands there",
    "the secondary is behind",
    "an operator holds the zone",
    "a fence of another installation",
    "the store is away",
)
"""Those of the everyday suite; `make states` tries all."""
ALL = {name: state for states in STATES.values() for name, state in states.items()}
GROUPS = STATES if os.environ.get("BAD_STATES") == "all" else {"short": {name: ALL[name] for name in SHORT}}


@pytest.mark.parametrize("group", GROUPS)
async def test_in_each_bad_state_nobody_calls_well_what_is_not(tmp_path: Path, group: str) -> None:
    """One after the other, each brought about and ended; what `dig` sees otherwise is told by all."""
    async with AsyncExitStack() as stack:
        site = Site(tmp_path, stack)
        await site.start()
        for name, state in GROUPS[group].items():
            await FAULTS[name].begin(site)

            def agreed(seen: Seen, state: Told = state, name: str = name) -> str:
                missing = _not_told(seen, state.words, state.verdict, note=state.note, store=state.store)
                if state.wrong and not seen.wrong:
                    missing += " dig"
                return missing and f"{name}: {missing}"

            await site.until(agreed)
            await FAULTS[name].end(site)
            await site.until_well()
            # What the page asked of a store that was away was answered so, and the browser notes that.
            site.view.complaints[:] = [said for said in site.view.complaints if state.store or "503" not in said]
