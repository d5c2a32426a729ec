"""Bad states on real servers: `/readyz`, `status`, the page and the API say what an outside observer sees.

Each state is brought about on real etcd and BIND, with a secondary that is verified; the page is open in Chromium
all the while. Nobody may call well what is not: neither a name that is served otherwise than the newest plan says,
nor a scope in which something is wrong. Once the state has ended, all of them say so.

A few of them are tried every day, all of them by `make states`.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import dns.asyncquery
import dns.exception
import dns.message
import dns.query
import dns.tsigkeyring
import dns.update
import pytest
from click.testing import CliRunner
from playwright.async_api import Page

from enactord.adapters.clock import SystemClock
from enactord.adapters.stores import open_store
from enactord.cli.ctl import main as ctl
from enactord.core.plan import Manifest, read_plan
from enactord.registry.keys import Keys
from enactord.registry.plans import Orders, Plans
from tests.browser.chromium import View, chromium, view
from tests.deploy.process import Service, service
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer, free_port
from tests.servers.etcd import Etcd
from tests.servers.secondaries import MovableBind, wait_copied
from tests.world import SCOPE, ZONE, fleet, plan

pytestmark = pytest.mark.timeout(300)

COUNT = 6
FIRST = next(iter(fleet(COUNT)))
_LIMIT_S = 40.0
_QUOTA_BYTES = 16 * 1024 * 1024
CONFIG = """
[enactor]
id = "e1"
scope = "{scope}"
state_dir = "state"
[store]
url = "{store}"
timeout_s = 1
claim_ttl_s = 3
[[zone]]
name = "{zone}"
backend = "rfc2136"
server = "127.0.0.1:{primary}"
verify = ["127.0.0.1:{primary}", "127.0.0.1:{secondary}"]
tsig_name = "enactor"
tsig_secret_file = "tsig.secret"
timeout_s = 1.0
verify_timeout_s = 1.0
[guard]
allow_private = true
velocity_window_s = 0.0
[repair]
interval_s = 1.0
fence_interval_s = 1.0
[http]
listen = "127.0.0.1:{http}"
[log]
format = "json"
"""


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


class Ground:
    """One zone on a primary and a secondary, a store, an enactor, and a page that stays open."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.applied = fleet(COUNT, 1)
        """What the newest plan that was applied says."""
        self.http = free_port()
        self.etcd = Etcd(options=[f"--quota-backend-bytes={_QUOTA_BYTES}"])
        self.primary = MovableBind([ZONE])
        self.secondary = MovableBind([ZONE], primary=self.primary)
        self.config = folder / "enactord.toml"
        self.view: View
        self.page: Page
        self.client: aiohttp.ClientSession
        self.service: Service

    async def start(self) -> None:
        for server in (self.primary, self.secondary):
            server.start()
            self.stack.callback(server.remove)
            self.stack.callback(server.stop)
        self.etcd.start()
        self.stack.callback(self.etcd.remove)
        following = asyncio.create_task(self._follow())
        self.stack.callback(following.cancel)
        secret = self.folder / "tsig.secret"
        secret.write_text(SECRET + "\n")
        secret.chmod(0o600)
        self.config.write_text(
            CONFIG.format(
                scope=SCOPE,
                zone=ZONE,
                store=self.etcd.url,
                primary=self.primary.port,
                secondary=self.secondary.port,
                http=self.http,
            )
        )
        self.service = await self.stack.enter_async_context(service(self.config))
        await self.service.until(lambda: self.service.event("started"))
        url = f"http://127.0.0.1:{self.http}"
        self.client = await self.stack.enter_async_context(aiohttp.ClientSession(url))
        browser = await self.stack.enter_async_context(chromium())
        self.view = await self.stack.enter_async_context(view(browser, url))
        self.page = self.view.page
        await self.publish(self.applied)
        await self.until_well()

    async def _follow(self) -> None:
        """Have the secondary ask for the zone all the while, as if it were notified."""
        while True:
            await asyncio.sleep(0.5)
            with contextlib.suppress(subprocess.SubprocessError):
                await asyncio.to_thread(self.secondary.rndc, "refresh", ZONE)

    # -- hands

    async def ctl(self, *words: str, code: int | None = 0) -> Any:
        """Run a command beside the loop; returns its document."""
        arguments = ["--config", str(self.config), *words, "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, ctl, arguments)
        assert code is None or done.exit_code == code, done.output
        return json.loads(done.stdout) if done.exit_code == 0 and done.stdout else None

    async def publish(self, endpoints: dict[str, list[str]], *words: str) -> None:
        path = self.folder / "plan.json"
        path.write_text(json.dumps(plan(endpoints)))
        await self.ctl("publish", str(path), *words)

    async def edit(self, change: Callable[[dns.update.UpdateMessage], None]) -> None:
        """Change the zone by the other key, as somebody else would."""
        keyring = dns.tsigkeyring.from_text({"foreign": FOREIGN_SECRET})
        update = dns.update.UpdateMessage(ZONE, keyring=keyring, keyalgorithm="hmac-sha256")
        change(update)
        answer = await dns.asyncquery.tcp(update, "127.0.0.1", timeout=5, port=self.primary.port)
        assert answer.rcode() == 0, answer

    async def fence(self, text: str) -> None:
        owner = f"_enactord.{ZONE}"
        if text:
            await self.edit(lambda update: update.replace(owner, 0, "TXT", f'"{text}"'))
        else:
            await self.edit(lambda update: update.delete(owner, "TXT"))

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
class State:
    """A bad state: how it begins and ends, what is said of it, and what the page says first."""

    begin: Callable[[Ground], Awaitable[object]]
    end: Callable[[Ground], Awaitable[object]]
    words: str
    verdict: str
    note: bool = False
    """Whether it is a note, and no reason to be degraded."""
    store: bool = True
    """Whether the command line can ask the store meanwhile."""
    wrong: bool = False
    """Whether the observer sees names served otherwise."""


async def _emptied(ground: Ground) -> None:
    await ground.ctl("freeze", "--reason", "drill")
    await ground.edit(lambda update: update.delete(FIRST, "A"))


async def _drift(ground: Ground) -> None:
    await ground.ctl("freeze", "--reason", "drill")
    await ground.edit(lambda update: update.replace(FIRST, 5, "A", "10.99.0.1"))


async def _ttl(ground: Ground) -> None:
    await ground.ctl("freeze", "--reason", "drill")
    await ground.edit(lambda update: update.replace(FIRST, 86_400, "A", *ground.applied[FIRST]))


async def _alias(ground: Ground) -> None:
    def change(update: dns.update.UpdateMessage) -> None:
        update.delete(FIRST)
        update.add(FIRST, 5, "CNAME", "elsewhere.test.")

    await ground.edit(change)


async def _unalias(ground: Ground) -> None:
    await ground.edit(lambda update: update.delete(FIRST, "CNAME"))


async def _behind(ground: Ground) -> None:
    """The secondary is a server of its own from now on, and serves what it last took."""
    await asyncio.to_thread(wait_copied, ground.secondary, ground.primary, ZONE)
    await asyncio.to_thread(ground.secondary.become, None)
    changed = fleet(COUNT, 1) | {FIRST: ["10.1.0.1", "10.1.0.9"]}
    await ground.publish(changed)
    ground.applied = changed


async def _caught_up(ground: Ground) -> None:
    await asyncio.to_thread(ground.secondary.become, ground.primary)
    await asyncio.to_thread(wait_copied, ground.secondary, ground.primary, ZONE)


def _signal(pid: Callable[[Ground], int], number: signal.Signals) -> Callable[[Ground], Awaitable[None]]:
    async def send(ground: Ground) -> None:
        os.kill(pid(ground), number)

    return send


def _in_thread(what: Callable[[Ground], Callable[[], None]]) -> Callable[[Ground], Awaitable[None]]:
    async def call(ground: Ground) -> None:
        await asyncio.to_thread(what(ground))

    return call


async def _fill(ground: Ground) -> None:
    """Put what is not enactord's into etcd until its quota is used up."""
    for number in range(64):
        body = os.urandom(700_000).hex()
        process = await asyncio.create_subprocess_exec(
            "etcdctl",
            *("--endpoints", ground.etcd.endpoint, "put", f"/junk/{number}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, error = await process.communicate(body.encode())
        if b"exceeded" in error:
            return
    raise AssertionError("etcd has taken it all")


async def _make_room(ground: Ground) -> None:
    """As the runbook says: remove, compact, defragment, disarm."""
    status = json.loads(await _etcdctl(ground, "endpoint", "status", "--write-out", "json"))
    await _etcdctl(ground, "del", "/junk", "--prefix")
    await _etcdctl(ground, "compact", str(status[0]["Status"]["header"]["revision"] + 1))
    await _etcdctl(ground, "defrag")
    await _etcdctl(ground, "alarm", "disarm")


async def _etcdctl(ground: Ground, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "etcdctl", "--endpoints", ground.etcd.endpoint, *words, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, words
    return out.decode()


async def _refuse(ground: Ground) -> None:
    """A plan that takes most names away, past the publisher's own guards."""
    store = await open_store(ground.etcd.url)
    plans = Plans(store, Keys(SCOPE), SystemClock(), zones=[ZONE])
    document = plan(dict(list(ground.applied.items())[:1]))
    assert isinstance(await plans.publish(read_plan(document), Orders()), Manifest)
    await store.close()


async def _released(ground: Ground) -> None:
    """The zone is given back; the next publication goes above the fence that was held."""
    await ground.ctl("emergency", "release", ZONE)
    await ground.publish(ground.applied)


async def _hold(ground: Ground) -> None:
    await ground.publish(ground.applied | {FIRST: []})


async def _again(ground: Ground) -> None:
    await ground.publish(ground.applied)


def _ctl(*words: str) -> Callable[[Ground], Awaitable[object]]:
    return lambda ground: ground.ctl(*words)


def _fence(text: str) -> Callable[[Ground], Awaitable[object]]:
    return lambda ground: ground.fence(text)


async def _foreign_value(ground: Ground) -> None:
    """Another version writes what this version does not read."""
    await _etcdctl(ground, "put", f"/enactord/{SCOPE}/control/retired/old.test.", "retired 2\n{}")


async def _known_value(ground: Ground) -> None:
    await _etcdctl(ground, "del", f"/enactord/{SCOPE}/control/retired/old.test.")


async def _bad_config(ground: Ground) -> None:
    text = ground.config.read_text()
    ground.config.write_text(text.replace("interval_s = 1.0\nfence", "interval_s = -1.0\nfence"))
    ground.service.signal(signal.SIGHUP)


async def _good_config(ground: Ground) -> None:
    text = ground.config.read_text()
    ground.config.write_text(text.replace("interval_s = -1.0", "interval_s = 1.0"))
    ground.service.signal(signal.SIGHUP)


async def _no_copy(ground: Ground) -> None:
    """The local copy cannot be saved: a folder stands in its place."""
    copy = ground.folder / "state" / "last-known-good.sqlite"
    await asyncio.to_thread(copy.rename, copy.with_suffix(".away"))
    await asyncio.to_thread(copy.mkdir)
    changed = fleet(COUNT, 1) | {FIRST: ["10.1.0.1", "10.1.0.7"]}
    await ground.publish(changed)
    ground.applied = changed


async def _copy_again(ground: Ground) -> None:
    copy = ground.folder / "state" / "last-known-good.sqlite"
    await asyncio.to_thread(copy.rmdir)
    await asyncio.to_thread(copy.with_suffix(".away").rename, copy)


MARK = "0" * 16
ABOVE = f"v=enactord1 scope={SCOPE} gen=99999999 plan={MARK}"
OTHER = f"v=enactord1 scope=other gen=9 plan={MARK}"
OTHER_ID = f"v=enactord1 scope={SCOPE} gen=9 plan={MARK} id={'f' * 16}"
NEWER = f"v=enactord2 scope={SCOPE} gen=9"
THAW = _ctl("thaw")

STATES: dict[str, dict[str, State]] = {
    "names": {
        "emptied and frozen": State(begin=_emptied, end=THAW, words="frozen (all)", verdict="Frozen", wrong=True),
        "drifted and frozen": State(begin=_drift, end=THAW, words="frozen (all)", verdict="Frozen", wrong=True),
        "another TTL and frozen": State(begin=_ttl, end=THAW, words="frozen (all)", verdict="Frozen"),
        "a CNAME stands there": State(
            begin=_alias, end=_unalias, words="", verdict="served otherwise", note=True, wrong=True
        ),
        "a delegation covers it": State(
            begin=lambda ground: ground.edit(lambda update: update.add(FIRST, 5, "NS", "ns.elsewhere.test.")),
            end=lambda ground: ground.edit(lambda update: update.delete(FIRST, "NS")),
            words="is held (covered)",
            verdict="held",
            note=True,
            wrong=True,
        ),
        "held": State(begin=_hold, end=_again, words="is held (targets_min)", verdict="held", note=True),
        "a plan is refused": State(begin=_refuse, end=_again, words="is refused", verdict="is refused"),
        "the planner is paused": State(
            begin=_ctl("planner", "pause", "default", "--reason", "drill"),
            end=_ctl("planner", "resume", "default"),
            words="is paused",
            verdict="needs a look",
            note=True,
        ),
    },
    "zone": {
        "the secondary is behind": State(
            begin=_behind, end=_caught_up, words="is behind since", verdict="serves older content", wrong=True
        ),
        "the secondary is away": State(
            begin=_in_thread(lambda ground: ground.secondary.stop),
            end=_in_thread(lambda ground: ground.secondary.start),
            words="has not answered since",
            verdict="does not answer",
        ),
        "the secondary hangs": State(
            begin=_signal(lambda ground: ground.secondary.pid, signal.SIGSTOP),
            end=_signal(lambda ground: ground.secondary.pid, signal.SIGCONT),
            words="has not answered since",
            verdict="does not answer",
        ),
        "the primary is away": State(
            begin=_in_thread(lambda ground: ground.primary.stop),
            end=_in_thread(lambda ground: ground.primary.start),
            words="cannot connect",
            verdict="cannot be worked on",
        ),
        "the primary hangs": State(
            begin=_signal(lambda ground: ground.primary.pid, signal.SIGSTOP),
            end=_signal(lambda ground: ground.primary.pid, signal.SIGCONT),
            words=ZONE,
            verdict="cannot be worked on",
        ),
        "an operator holds the zone": State(
            begin=_ctl("emergency", "set", FIRST, "10.66.0.1", "--zone", ZONE, "--reason", "drill"),
            end=_released,
            words="fence held by an operator",
            verdict="An operator holds",
            wrong=True,
        ),
        "a fence of another scope": State(
            begin=_fence(OTHER), end=_fence(""), words="another scope", verdict="another"
        ),
        "a fence of another installation": State(
            begin=_fence(OTHER_ID), end=_fence(""), words="another installation", verdict="another"
        ),
        "a fence of another version": State(begin=_fence(NEWER), end=_fence(""), words="version", verdict="another"),
        "a fence far above": State(
            begin=_fence(ABOVE), end=_fence(""), words="out of reach", verdict="cannot be worked on"
        ),
    },
    "store": {
        "the store is away": State(
            begin=_in_thread(lambda ground: ground.etcd.stop),
            end=_in_thread(lambda ground: ground.etcd.start),
            words="store:",
            verdict="plan store does not answer",
            store=False,
        ),
        "the store hangs": State(
            begin=_in_thread(lambda ground: ground.etcd.pause),
            end=_in_thread(lambda ground: ground.etcd.resume),
            words="store:",
            verdict="plan store does not answer",
            store=False,
        ),
        "the store has no room": State(
            begin=_fill, end=_make_room, words="database space exceeded", verdict="has no room", store=False
        ),
        "frozen": State(
            begin=_ctl("freeze", "--reason", "drill", "--repair-only"),
            end=THAW,
            words="frozen (repair-only)",
            verdict="Frozen",
        ),
        "a value of another version": State(
            begin=_foreign_value, end=_known_value, words="format 2", verdict="needs a look"
        ),
        "a config that is refused": State(
            begin=_bad_config, end=_good_config, words="repair.interval_s", verdict="needs a look", store=False
        ),
        "no copy on local disk": State(begin=_no_copy, end=_copy_again, words="local copy", verdict="needs a look"),
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
        ground = Ground(tmp_path, stack)
        await ground.start()
        for name, state in GROUPS[group].items():
            await state.begin(ground)

            def agreed(seen: Seen, state: State = state, name: str = name) -> str:
                missing = _not_told(seen, state.words, state.verdict, note=state.note, store=state.store)
                if state.wrong and not seen.wrong:
                    missing += " dig"
                return missing and f"{name}: {missing}"

            await ground.until(agreed)
            await state.end(ground)
            await ground.until_well()
            # What the page asked of a store that was away was answered so, and the browser notes that.
            ground.view.complaints[:] = [said for said in ground.view.complaints if state.store or "503" not in said]
