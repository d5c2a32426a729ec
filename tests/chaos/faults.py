"""The faults: each begins, lasts as long as its context, and is healed at its end, whatever happens meanwhile."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import dns.exception
import dns.query
import dns.tsig
import dns.update
import grpc

from enactord.clock import SystemClock
from enactord.core.content import content_json, parse_content
from enactord.core.errors import Compacted, EnactordError, LeaseLost, StoreDown, StoreRefused
from enactord.core.kv import Delete, Item, Put
from enactord.core.names import fence_name
from enactord.core.plan import Manifest, read_plan
from enactord.store.layout import APPLIED, CHUNK, CLAIM, CONFIGURED, ENACTOR, FENCE, HEAD, PLAN, REPORT
from enactord.store.plans import Orders, Plans
from tests.chaos.history import NOTHING, Edit
from tests.chaos.store_view import REFUSED_AUTHOR
from tests.chaos.world import CLAIM_TTL_S, ENACTORS, SCOPE, ZONES, Enactor, World
from tests.servers.proxy import Relay, is_batch

Target = Literal["enactor", "etcd", "dns", "scope"]
Act = Callable[[World, random.Random, str], AbstractAsyncContextManager[str]]

_RETRY_S = 0.2
_POLL_S = 0.01
_PENDING_LIMIT_S = 5.0
_SETTLE_LIMIT_S = 60.0
_REPAIR_LIMIT_S = 60.0
_COPIED_S = 1.5
"""An enactor's copy on disk is at most half a second behind."""
_FILLER_BYTES = 1_400_000
_FILLER = "/filler/"
DAMAGED = (HEAD, PLAN, CHUNK, FENCE, APPLIED, CLAIM, ENACTOR, REPORT, CONFIGURED)
"""Kinds of values that are damaged. Names whose entries of the ledger are lost may be held, so none of those."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of fault. `lasts_s`: between which bounds it is on; `store`: what it does to, or needs of, the store.

    `alone`: no other is on beside it, because it touches more than its target.
    """

    name: str
    target: Target
    lasts_s: tuple[float, float]
    act: Act
    store: Literal["stops", "needs", ""] = ""
    alone: bool = False

    def targets(self) -> tuple[str, ...]:
        """What it can be done to."""
        match self.target:
            case "enactor":
                return tuple(f"enactor {ident}" for ident in ENACTORS)
            case "dns":
                return tuple(f"dns {zone}" for zone in ZONES)
            case _:
                return (self.target,)


KINDS: list[Kind] = []


def _kind(
    name: str,
    target: Target,
    lasts_s: tuple[float, float],
    *,
    store: Literal["stops", "needs", ""] = "",
    alone: bool = False,
) -> Callable[[Callable[[World, random.Random, str], AsyncIterator[str]]], Act]:
    """Enter a fault into `KINDS`; what it yields tells what was done."""

    def enter(make: Callable[[World, random.Random, str], AsyncIterator[str]]) -> Act:
        act = asynccontextmanager(make)
        KINDS.append(Kind(name=name, target=target, lasts_s=lasts_s, act=act, store=store, alone=alone))
        return act

    return enter


def _enactor(world: World, target: str) -> Enactor:
    return world.enactors[target.removeprefix("enactor ")]


# -- enactors


@_kind("enactor paused past its lease", "enactor", (CLAIM_TTL_S + 1.0, CLAIM_TTL_S + 4.0))
async def paused(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    enactor = _enactor(world, target)
    busy = await world.at_work(enactor)
    enactor.paused = True
    enactor.child.send(signal.SIGSTOP)
    try:
        yield f"SIGSTOP {'in the middle of a plan' if busy else 'at rest'}"
    finally:
        enactor.child.send(signal.SIGCONT)
        enactor.paused = False


@_kind("enactor killed", "enactor", (0.0, 2.0))
async def killed(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    enactor = _enactor(world, target)
    busy = await world.at_work(enactor)
    async with _ended(enactor):
        yield f"SIGKILL {'in the middle of a plan' if busy else 'at rest'}"


@_kind("enactor killed, its disk lost", "enactor", (0.0, 2.0))
async def disk_lost(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    enactor = _enactor(world, target)
    async with _ended(enactor):
        enactor.disk.wipe()
        yield "SIGKILL, state_dir emptied"


@asynccontextmanager
async def _ended(enactor: Enactor) -> AsyncIterator[None]:
    enactor.expected = False
    await enactor.child.kill()
    try:
        yield
    finally:
        await enactor.child.start()
        enactor.expected = True


@_kind("enactor restarted", "enactor", (0.0, 1.0))
async def restarted(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    enactor = _enactor(world, target)
    enactor.expected = False
    code = await enactor.child.stop()
    if code != 0:
        how = "did not end" if code is None else f"ended with exit code {code}"
        world.violated("alive", target, f"{how} on SIGTERM")
    try:
        yield f"SIGTERM, exit code {code}"
    finally:
        await enactor.child.start()
        enactor.expected = True


@_kind("disk full", "enactor", (1.5, 4.0))
async def disk_full(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    disk = _enactor(world, target).disk
    disk.fill()
    try:
        yield disk.kind
    finally:
        disk.free()


@_kind("disk full, enactor killed", "enactor", (1.5, 3.0))
async def disk_full_killed(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    """Started anew on the full disk; there is room again only later."""
    enactor = _enactor(world, target)
    async with _anew_on_full_disks([enactor]):
        yield f"SIGKILL and start on a {enactor.disk.kind}"


@asynccontextmanager
async def _anew_on_full_disks(enactors: Sequence[Enactor]) -> AsyncIterator[None]:
    """Kill and start enactors whose disks are full, or, where that cannot be had, as they are."""
    full = [enactor.disk for enactor in enactors if enactor.disk.mounted]
    try:
        for disk in full:
            disk.fill()
        for enactor in enactors:
            async with _ended(enactor):
                pass
        yield
    finally:
        for disk in full:
            disk.free()


@_kind("log not read", "enactor", (2.0, 6.0))
async def log_not_read(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    """The pipe that it logs into is full: its work goes on, without those lines."""
    enactor = _enactor(world, target)
    enactor.child.reading.clear()
    try:
        yield "its pipe is full"
    finally:
        enactor.child.reading.set()


@_kind("lease revoked", "enactor", (0.0, 1.0), store="needs")
async def lease_revoked(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    ident = target.removeprefix("enactor ")
    item = world.view.cache.items.get(world.view.keys.enactor(ident))
    if item is not None and item.lease:
        await _insist(lambda: world.view.store.revoke(item.lease))
    yield f"lease {item.lease if item else 'none'}"


# -- the network


@asynccontextmanager
async def _disturbed(relays: list[Relay], how: str, rng: random.Random) -> AsyncIterator[str]:
    detail = how
    for relay in relays:
        match how:
            case "dropped":
                relay.drop()
            case "updates held":
                relay.hold(down=False, which=is_batch)
                detail = "what writes endpoints is held, then let go"
            case "held":
                up, down = rng.choice([(True, True), (True, False), (False, True)])
                relay.hold(up=up, down=down)
                detail = f"held {'both ways' if up and down else 'upstream' if up else 'downstream'}, then let go"
            case _:
                after = rng.choice([0, 1, 20, 200, 2000])
                relay.cut(after)
                detail = f"reset after {after} bytes, again and again"
    try:
        yield detail
    finally:
        for relay in relays:
            relay.heal()


def _network(name: str, choose: Callable[[Enactor, random.Random], list[Relay]], how: str, longest_s: float) -> None:
    @_kind(name, "enactor", (1.0, longest_s))
    async def act(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
        async with _disturbed(choose(_enactor(world, target), rng), how, rng) as detail:
            yield detail


def _to_store(enactor: Enactor, rng: random.Random) -> list[Relay]:
    return list(enactor.to_store)


def _to_some_dns(enactor: Enactor, rng: random.Random) -> list[Relay]:
    return rng.choice([list(enactor.to_dns), [enactor.to_dns[0]], [enactor.to_dns[1]]])


_network("enactor's updates held", _to_some_dns, "updates held", 7.0)
for _how, _longest_s in (("dropped", 7.0), ("held", 7.0), ("cut", 4.0)):
    _network(f"enactor to etcd {_how}", _to_store, _how, _longest_s)
    _network(f"enactor to dns {_how}", _to_some_dns, _how, _longest_s)
_network("enactor cut off from all", lambda enactor, _: [*enactor.to_store, *enactor.to_dns], "held", 7.0)


@_kind("compacted while cut off", "enactor", (1.5, 4.0), store="needs")
async def compacted_while_cut_off(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    """The watch of an enactor comes back to revisions that are gone."""
    async with _disturbed(list(_enactor(world, target).to_store), "dropped", rng):
        yield "dropped, compacted at its end"
        await _compact(world)


# -- etcd


@_kind("etcd below quorum", "etcd", (2.0, 5.0), store="stops")
async def below_quorum(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    members = rng.sample(world.cluster.members, 2)
    for member in members:
        member.pause()
    try:
        yield "SIGSTOP of two members"
    finally:
        for member in members:
            member.resume()


@_kind("etcd member killed", "etcd", (0.5, 3.0))
async def member_killed(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    leader = await world.cluster.leader()
    index = rng.choice([max(leader, 0), rng.randrange(len(world.cluster.members))])
    member = world.cluster.members[index]
    await asyncio.to_thread(member.kill)
    try:
        yield f"SIGKILL of member {index}, the leader is {leader}"
    finally:
        member.launch()
        await asyncio.to_thread(member.wait_ready)


@_kind("etcd out of space", "etcd", (1.0, 3.0), store="stops")
async def out_of_space(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    """Really filled to its quota, until it raises the alarm; mended as its manual says."""
    store = world.view.store
    value, number = b"\0" * _FILLER_BYTES, 0
    try:
        while True:
            try:
                await store.transact((), (Put(key=f"{_FILLER}{number:06d}", value=value),))
                number += 1
            except StoreRefused:
                break
            except StoreDown:
                await asyncio.sleep(_RETRY_S)
        yield f"{number} values of {_FILLER_BYTES} bytes until NOSPACE"
    finally:
        await _insist(lambda: store.transact((), (Delete(key=_FILLER, prefix=True),)))
        await _compact(world)
        await _insist(world.cluster.defragment)
        await _insist(world.cluster.disarm)


@_kind("etcd compacted", "etcd", (0.0, 1.0), store="needs")
async def compacted(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    yield f"at revision {await _compact(world)}"


async def _compact(world: World) -> int:
    """Compact at the current revision, which the view has seen; returns it."""
    revision = 0

    async def once() -> None:
        nonlocal revision
        revision = await world.view.current()
        try:
            await world.view.store.compact(revision)
        except Compacted:
            pass  # an earlier attempt, or etcd's own, came first

    await _insist(once)
    return revision


async def _insist(work: Callable[[], object]) -> None:
    """Do what may be done twice until the store lets it be done."""
    while True:
        try:
            await work()  # type: ignore[misc]
            return
        except (StoreDown, StoreRefused, grpc.RpcError):
            await asyncio.sleep(_RETRY_S)


@_kind("value damaged", "scope", (0.0, 1.0), store="needs")
async def value_damaged(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    """One value of the scope is deleted, emptied or garbled; of kinds after which nobody has to say anything."""
    kind = rng.choice(DAMAGED)
    stored: Sequence[Item] = ()

    async def look() -> None:
        nonlocal stored
        stored = (await world.view.store.range(*world.view.keys.bounds(kind))).items

    await _insist(look)
    if not stored:
        yield f"no {kind.name} is stored"
        return
    item = rng.choice(stored)
    ways = [("deleted", None), ("emptied", b""), ("garbled", kind.value(b"\x1bgarbage{"))]
    how, value = rng.choice(ways[1:] if kind is PLAN else ways)  # that plans go is looked at: only prune may do so
    damage = Delete(key=item.key) if value is None else Put(key=item.key, value=value, lease=item.lease)
    with contextlib.suppress(LeaseLost):
        await _insist(lambda: world.view.store.transact((), (damage,)))
    yield f"{item.key} {how}"


# -- DNS


@_kind("dns server killed", "dns", (0.2, 2.0))
async def dns_killed(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    server = world.servers[target.removeprefix("dns ")]
    give_up = world.now() + _PENDING_LIMIT_S
    while not (pending := world.view.cache.ledger.totals.pending) and world.now() < give_up:
        await asyncio.sleep(_POLL_S)
    await asyncio.to_thread(server.kill)
    try:
        yield f"SIGKILL with {pending} names pending"
    finally:
        await asyncio.to_thread(server.start)


@_kind("dns server paused", "dns", (1.0, 5.0))
async def dns_paused(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    server = world.servers[target.removeprefix("dns ")]
    server.send(signal.SIGSTOP)
    try:
        yield "SIGSTOP"
    finally:
        server.send(signal.SIGCONT)


@_kind("foreign edit", "dns", (0.0, 1.0))
async def foreign_edit(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    yield await _edit_some(world, rng, target.removeprefix("dns "))


@_kind("foreign edit, no new plan", "dns", (0.0, 0.5), alone=True)
async def edit_in_quiet(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    """No plan is published that would write over it: repair must see to it."""
    async with _quiet(world):
        detail = await _edit_some(world, rng, target.removeprefix("dns "))
        await _repaired(world, "with no new plan")
        yield detail


@_kind("foreign edit, etcd away", "etcd", (0.0, 0.5), store="stops", alone=True)
async def edit_without_store(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    """Repaired from what enactors have at hand; or, started anew meanwhile, from what is on their disks, full ones."""
    anew = list(world.enactors.values()) if rng.random() < 0.6 else []
    async with _quiet(world):
        await asyncio.sleep(_COPIED_S)
        async with below_quorum(world, rng, target), _anew_on_full_disks(anew):
            details = [await _edit_some(world, rng, zone) for zone in ZONES]
            await _repaired(world, "with the store away")
            yield ("all killed and started, their disks full; " if anew else "") + "; ".join(details)


@_kind("name delegated away", "dns", (2.0, 8.0))
async def delegated(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    """Some names are covered by delegations: they alone are held, and served again once these have left."""
    zone = target.removeprefix("dns ")
    names = rng.sample(list(world.history.zones[zone]), 2)
    for name in names:
        await _update(world, zone, name, {"NS": "ns.elsewhere.test."}, hides=True)
    try:
        yield " ".join(names)
    finally:
        for name in names:
            while not await _update(world, zone, name, {"NS": ""}, hides=True):
                await asyncio.sleep(_RETRY_S)


@_kind("fence removed", "dns", (0.0, 0.5), alone=True)
async def fence_removed(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    """By a foreign hand; or garbage put in its place."""
    zone = target.removeprefix("dns ")
    garbage = rng.choice(["", "v=spf1 -all"])
    async with _quiet(world):
        await _update(world, zone, fence_name(zone), {"TXT": f'"{garbage}"' if garbage else ""})
        await _repaired(world, "without its fence")
        yield garbage or "removed"


@asynccontextmanager
async def _quiet(world: World) -> AsyncIterator[None]:
    """Let the planner pause, and what it published settle."""
    world.planner.send(signal.SIGSTOP)
    try:
        async with asyncio.timeout(_SETTLE_LIMIT_S):
            while world.unsettled():
                await asyncio.sleep(_RETRY_S)
        yield
    finally:
        world.planner.send(signal.SIGCONT)


async def _repaired(world: World, how: str) -> None:
    """Wait until every name, and every fence, is served as the newest plan says."""
    since = world.now()
    lacking = "not looked at yet"
    try:
        async with asyncio.timeout(_REPAIR_LIMIT_S):
            while lacking := world.unlike(since, world.view.newest_acceptable()):
                await asyncio.sleep(_RETRY_S)
    except TimeoutError:
        world.violated("I5", f"repair {how}", f"not done in {_REPAIR_LIMIT_S:g} s: {lacking}")


async def _edit_some(world: World, rng: random.Random, zone: str) -> str:
    """Change or empty a few names of a zone; returns which."""
    done = []
    for name in rng.sample(list(world.history.zones[zone]), 3):
        if rng.random() < 0.5:
            values = {"A": "", "AAAA": ""}
        else:
            values = {"A": f"198.51.100.{rng.randint(1, 254)}"}
            if rng.random() < 0.5:
                values["AAAA"] = f"2001:db8::{rng.randint(1, 9999):x}"
        await _update(world, zone, name, values)
        done.append(f"{name} {' '.join(values.values()).strip() or 'emptied'}")
    return "; ".join(done)


async def _update(world: World, zone: str, name: str, values: Mapping[str, str], *, hides: bool = False) -> bool:
    """Put these records at a name past the fence, with a key that may ("": none of that type); whether it is done.

    `hides`: they hide the name's addresses, or let them be seen again.
    """
    server = world.servers[zone]
    keyring = {dns.name.from_text("foreign"): dns.tsig.Key("foreign", server.foreign_secret, "hmac-sha256")}
    update = dns.update.UpdateMessage(zone, keyring=keyring)
    owner = dns.name.from_text(name)
    for rtype, value in values.items():
        update.delete(owner, rtype)
        if value:
            update.add(owner, 60, rtype, value)
    begun, ended = world.now(), float("inf")
    try:
        answer = await asyncio.to_thread(dns.query.tcp, update, server.host, 5, server.port)
        if answer.rcode() == dns.rcode.NOERROR:
            ended = world.now()
    except (OSError, EOFError, dns.exception.DNSException):
        pass  # nobody knows whether it landed
    for rtype, value in ({"A": "", "AAAA": ""} if hides else values).items():
        addresses = frozenset({value}) if value else NOTHING
        world.history.edits.append(Edit(begun=begun, ended=ended, name=name, rtype=rtype, addresses=addresses))
    return ended < float("inf")


# -- the operator, and a planner out of order


@_kind("frozen", "scope", (1.0, 4.0), store="needs")
async def frozen(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    mode = rng.choice([["--repair-only"], []])
    await _until_done(world, "freeze", "--reason", "drill", *mode)
    try:
        yield f"freeze {' '.join(mode)}"
    finally:
        world.view.thawing = world.now()
        await _until_done(world, "thaw")


@_kind("rolled back", "scope", (0.0, 1.0), store="needs")
async def rolled_back(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    plans = world.history.plans
    kept = [g for g in world.view.cache.generations[:-1] if g in plans and not plans[g].refused]
    generation = rng.choice(kept or [1])
    code, said = await world.ctl("rollback", str(generation), "--reason", "drill", "--json")
    try:
        yield f"to {generation}: exit code {code}" + ("" if code == 0 else f": {said[-300:]}")
    finally:  # it paused the planner, if it came through
        while (await world.ctl("planner", "resume"))[0] != 0:
            await asyncio.sleep(_RETRY_S)


@_kind("bad plan", "scope", (0.0, 0.5), store="needs")
async def bad_plan(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    kind = rng.choice(["empty", "truncated", "duplicate", "shrunk", "stale", "wrong-digest"])
    code, said = await world.stub("bad", kind, "--publish", "--json")
    if code == 0:
        world.violated("I8", "planner-stub bad", f"{kind} was accepted: {said[-500:]}")
    yield f"{kind}: exit code {code}"


@_kind("bad plan in the store", "scope", (0.5, 1.5), store="needs")
async def bad_plan_stored(world: World, rng: random.Random, target: str) -> AsyncIterator[str]:
    """Put past the guards of publishing a plan that lacks most names: every enactor must refuse it."""
    plans = Plans(world.view.store, world.view.keys, SystemClock(), zones=ZONES)
    newest = world.history.plans[world.view.newest_acceptable()]
    kept = {name: newest.contents[name] for name in sorted(newest.contents)[: len(newest.contents) // 10]}
    document = {
        "schema": "enactord.plan/v1",
        "scope": SCOPE,
        "author": REFUSED_AUTHOR,
        "endpoints": {name: content_json(parse_content(text)) for name, text in kept.items()},
    }
    try:
        done = await plans.publish(read_plan(document), Orders())
        detail = f"generation {done.generation}" if isinstance(done, Manifest) else str(done)
    except EnactordError as error:
        detail = str(error)
    yield detail


async def _until_done(world: World, *arguments: str) -> None:
    """Run enactorctl until it is done; a store that elects a leader just then is no answer."""
    async with asyncio.timeout(120):
        while (await world.ctl(*arguments))[0] != 0:
            await asyncio.sleep(_RETRY_S)
