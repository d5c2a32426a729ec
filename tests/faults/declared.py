"""The faults, by name: how each begins, and how it ends."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import dns.update

from tests.faults.ground import COUNT, FIRST, Ground
from tests.servers.secondaries import wait_copied
from tests.world import SCOPE, ZONE, fleet

Act = Callable[[Ground], Awaitable[object]]
MARK = "0" * 16
ABOVE = f"v=enactord1 scope={SCOPE} gen=99999999 plan={MARK}"
OTHER = f"v=enactord1 scope=other gen=9 plan={MARK}"
OTHER_ID = f"v=enactord1 scope={SCOPE} gen=9 plan={MARK} id={'f' * 16}"
NEWER = f"v=enactord2 scope={SCOPE} gen=9"
_COPY = "last-known-good.sqlite"
_RETIRED = f"/enactord/{SCOPE}/control/retired/old.test."


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault on the ground, and its mending."""

    begin: Act
    end: Act


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
    changed = ground.applied | {FIRST: ["10.1.0.1", "10.1.0.9"]}
    await ground.publish(changed)
    ground.applied = changed


async def _caught_up(ground: Ground) -> None:
    await asyncio.to_thread(ground.secondary.become, ground.primary)
    await asyncio.to_thread(wait_copied, ground.secondary, ground.primary, ZONE)


async def _fill(ground: Ground) -> None:
    """Put what is not enactord's into etcd until its quota is used up."""
    for number in range(64):
        _, error = await ground.etcdctl("put", f"/junk/{number}", stdin=os.urandom(700_000).hex().encode())
        if "exceeded" in error:
            return
    raise AssertionError("etcd has taken it all")


async def _make_room(ground: Ground) -> None:
    """As the runbook says: remove, compact, defragment, disarm."""
    status, _ = await ground.etcdctl("endpoint", "status", "--write-out", "json")
    revision = json.loads(status)[0]["Status"]["header"]["revision"]
    for words in (
        ("del", "/junk", "--prefix"),
        ("compact", str(revision + 1)),
        ("defrag",),
        ("alarm", "disarm"),
    ):
        await ground.etcdctl(*words)


async def _refuse(ground: Ground) -> None:
    """A plan that takes most names away."""
    await ground.publish_unjudged(dict(list(ground.applied.items())[:1]))


async def _released(ground: Ground) -> None:
    """The zone is given back; the next publication goes above the fence that was held."""
    await ground.ctl("emergency", "release", ZONE)
    await ground.publish(ground.applied)


async def _hold(ground: Ground) -> None:
    await ground.publish(ground.applied | {FIRST: []})


async def _again(ground: Ground) -> None:
    await ground.publish(ground.applied)


async def _bad_config(ground: Ground) -> None:
    text = ground.victim.read_text()
    ground.victim.write_text(text.replace("interval_s = 1.0\nfence", "interval_s = -1.0\nfence"))
    ground.reread()


async def _good_config(ground: Ground) -> None:
    text = ground.victim.read_text()
    ground.victim.write_text(text.replace("interval_s = -1.0", "interval_s = 1.0"))
    ground.reread()


async def _no_copy(ground: Ground) -> None:
    """The local copy cannot be saved: a folder stands in its place."""
    copy = ground.state / _COPY
    await asyncio.to_thread(copy.rename, copy.with_suffix(".away"))
    await asyncio.to_thread(copy.mkdir)
    changed = fleet(COUNT, 1) | {FIRST: ["10.1.0.1", "10.1.0.7"]}
    await ground.publish(changed)
    ground.applied = changed


async def _copy_again(ground: Ground) -> None:
    copy = ground.state / _COPY
    await asyncio.to_thread(copy.rmdir)
    await asyncio.to_thread(copy.with_suffix(".away").rename, copy)


def _ctl(*words: str) -> Act:
    return lambda ground: ground.ctl(*words)


def _fence(text: str) -> Act:
    return lambda ground: ground.fence(text)


def _etcdctl(*words: str) -> Act:
    return lambda ground: ground.etcdctl(*words)


def _signal(pid: Callable[[Ground], int], number: signal.Signals) -> Act:
    async def send(ground: Ground) -> None:
        os.kill(pid(ground), number)

    return send


def _in_thread(what: Callable[[Ground], Callable[[], None]]) -> Act:
    async def call(ground: Ground) -> None:
        await asyncio.to_thread(what(ground))

    return call


_THAW = _ctl("thaw")
_NO_FENCE = _fence("")

FAULTS = {
    # Names.
    "emptied and frozen": Fault(begin=_emptied, end=_THAW),
    "drifted and frozen": Fault(begin=_drift, end=_THAW),
    "another TTL and frozen": Fault(begin=_ttl, end=_THAW),
    "a CNAME stands there": Fault(begin=_alias, end=_unalias),
    "a delegation covers it": Fault(
        begin=lambda ground: ground.edit(lambda update: update.add(FIRST, 5, "NS", "ns.elsewhere.test.")),
        end=lambda ground: ground.edit(lambda update: update.delete(FIRST, "NS")),
    ),
    # Plans.
    "held": Fault(begin=_hold, end=_again),
    "a plan is refused": Fault(begin=_refuse, end=_again),
    "the planner is paused": Fault(
        begin=_ctl("planner", "pause", "default", "--reason", "drill"), end=_ctl("planner", "resume", "default")
    ),
    # The zone's servers.
    "the secondary is behind": Fault(begin=_behind, end=_caught_up),
    "the secondary is away": Fault(
        begin=_in_thread(lambda ground: ground.secondary.stop), end=_in_thread(lambda ground: ground.secondary.start)
    ),
    "the secondary hangs": Fault(
        begin=_signal(lambda ground: ground.secondary.pid, signal.SIGSTOP),
        end=_signal(lambda ground: ground.secondary.pid, signal.SIGCONT),
    ),
    "the primary is away": Fault(
        begin=_in_thread(lambda ground: ground.primary.stop), end=_in_thread(lambda ground: ground.primary.start)
    ),
    "the primary hangs": Fault(
        begin=_signal(lambda ground: ground.primary.pid, signal.SIGSTOP),
        end=_signal(lambda ground: ground.primary.pid, signal.SIGCONT),
    ),
    # The zone's fence.
    "an operator holds the zone": Fault(
        begin=_ctl("emergency", "set", FIRST, "10.66.0.1", "--zone", ZONE, "--reason", "drill"), end=_released
    ),
    "a fence of another scope": Fault(begin=_fence(OTHER), end=_NO_FENCE),
    "a fence of another installation": Fault(begin=_fence(OTHER_ID), end=_NO_FENCE),
    "a fence of another version": Fault(begin=_fence(NEWER), end=_NO_FENCE),
    "a fence far above": Fault(begin=_fence(ABOVE), end=_NO_FENCE),
    # The store.
    "the store is away": Fault(
        begin=_in_thread(lambda ground: ground.etcd.stop), end=_in_thread(lambda ground: ground.etcd.start)
    ),
    "the store hangs": Fault(
        begin=_in_thread(lambda ground: ground.etcd.pause), end=_in_thread(lambda ground: ground.etcd.resume)
    ),
    "the store has no room": Fault(begin=_fill, end=_make_room),
    "frozen": Fault(begin=_ctl("freeze", "--reason", "drill", "--repair-only"), end=_THAW),
    "a value of another version": Fault(
        begin=_etcdctl("put", _RETIRED, "retired 2\n{}"), end=_etcdctl("del", _RETIRED)
    ),
    # One enactor.
    "a config that is refused": Fault(begin=_bad_config, end=_good_config),
    "no copy on local disk": Fault(begin=_no_copy, end=_copy_again),
}
