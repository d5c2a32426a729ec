"""The single faults that alerts are tried by: how each is made, and which alert names its cause.

Faults that other tests know, too, come from `tests/faults/declared.py` by their names there.
"""

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dns.update

from enactord.store.keys import Keys
from enactord.store.layout import CHUNK, PLAN
from tests.alerts.scope import ENACTORS, VICTIM, Scope, Told
from tests.chaos.children import Child, program
from tests.faults.declared import FAULTS
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer
from tests.servers.knot import Knot
from tests.servers.powerdns import PowerDns
from tests.servers.secondaries import MovableBind
from tests.world import SCOPE, ZONE

Begin = Callable[[Scope], Awaitable[object]]
_AGAIN_S = 0.3
_PLANS_SEEN = 60
_CONTENT = ["10.99.0.1"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A fault, and what must be told of it first.

    `alert`: the alert that names the cause. `labels`, `says`: what its labels and its summary must have, where the
    alert can be of other causes, too. `why`: what makes it the one where others could be thought of.
    """

    begin: Begin
    alert: str
    labels: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    why: str = ""
    primary: type[DnsServer] = MovableBind

    def named_by(self, told: Told) -> bool:
        """Whether an alert names the cause."""
        return told.name == self.alert and self.labels.items() <= told.labels.items() and self.says in told.summary


def _known(name: str) -> Begin:
    return FAULTS[name].begin


def _alone(name: str) -> Begin:
    """A fault that is healed by the next good plan: the planner has stopped."""

    async def begin(scope: Scope) -> None:
        scope.planning = False
        await FAULTS[name].begin(scope)

    return begin


# -- the store


async def _store_emptied(scope: Scope) -> None:
    await asyncio.to_thread(scope.etcd.kill)
    await asyncio.to_thread(shutil.rmtree, scope.etcd.dir / "data")
    await asyncio.to_thread(scope.etcd.start)


async def _store_set_back(scope: Scope) -> None:
    """To a copy of its files, three plans old."""
    data, copy = scope.etcd.dir / "data", scope.etcd.dir / "copy"
    scope.planning = False
    await asyncio.to_thread(scope.etcd.stop)
    await asyncio.to_thread(shutil.copytree, data, copy)
    await asyncio.to_thread(scope.etcd.start)
    for last in (41, 42, 43):
        await scope.publish(scope.applied | {scope.first: [f"10.1.0.{last}"]})
    await scope.until(lambda: _reached(scope))
    await asyncio.to_thread(scope.etcd.stop)
    await asyncio.to_thread(shutil.rmtree, data)
    await asyncio.to_thread(copy.rename, data)
    await asyncio.to_thread(scope.etcd.start)


async def _reached(scope: Scope) -> bool:
    status = await scope.ctl("status")
    return bool(status["zones"][0]["state"] == "applied")


async def _store_of_others(scope: Scope) -> None:
    """The enactors' address leads to the store of an installation that has another id."""
    await _store_emptied(scope)
    await scope.etcdctl("put", Keys(SCOPE).installation, f"installation 1\n{'f' * 16}")


async def _chunk_lost(scope: Scope) -> None:
    """While the scope is frozen, so that no enactor has applied it; started anew, none has it in memory either."""
    scope.planning = False
    await scope.ctl("freeze", "--reason", "drill")
    await scope.publish(scope.applied | {scope.first: ["10.1.0.77"]})
    await scope.etcdctl("del", Keys(SCOPE).key(CHUNK), "--prefix")
    for name in ENACTORS:
        await scope.restart(name)
    await scope.ctl("thaw")


async def _plans_deleted(scope: Scope) -> None:
    scope.planning = False
    await scope.etcdctl("del", Keys(SCOPE).key(PLAN), "--prefix")


async def _head_damaged(scope: Scope) -> None:
    scope.planning = False
    await scope.etcdctl("put", Keys(SCOPE).head, "garbage")


async def _limits_damaged(scope: Scope) -> None:
    await scope.etcdctl("put", Keys(SCOPE).limits, "limits 1\ngarbage")


async def _store_cut(scope: Scope) -> None:
    scope.to_store.drop()


# -- enactors


async def _killed(scope: Scope) -> None:
    await scope.children[VICTIM].kill()


async def _all_killed(scope: Scope) -> None:
    for name in ENACTORS:
        await scope.children[name].kill()


async def _stopped(scope: Scope) -> None:
    scope.children[VICTIM].send(signal.SIGSTOP)


async def _same_id(scope: Scope) -> None:
    """Somebody has copied the id of another machine's config."""
    text = scope.victim.read_text()
    scope.victim.write_text(text.replace(f'id = "{VICTIM}"', f'id = "{ENACTORS[0]}"'))
    await scope.restart(VICTIM)


async def _clock_ahead(scope: Scope) -> None:
    await scope.children[VICTIM].kill()
    arguments = ("-m", "tests.alerts.ahead", "run", "--config", str(scope.victim))
    child = Child("ahead", arguments, scope.folder / "ahead.log")
    scope.stack.push_async_callback(child.kill)
    await child.start()


async def _log_full(scope: Scope) -> None:
    """What its log goes to has no room from the start."""
    await scope.children[VICTIM].kill()
    with Path("/dev/full").open("wb") as full:
        process = await asyncio.create_subprocess_exec(
            *program("-m", "enactord.cli.daemon", "run", "--config", str(scope.victim)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=full,
            stderr=full,
        )

    async def end() -> None:
        process.kill()
        await process.wait()

    scope.stack.push_async_callback(end)


def _certificate(days: int) -> Begin:
    async def issue(scope: Scope) -> None:
        assert scope.authority is not None
        scope.authority.issue(VICTIM, days=days)

    return issue


async def _other_limits(scope: Scope) -> None:
    text = scope.victim.read_text()
    scope.victim.write_text(text.replace("[guard]\n", "[guard]\ntargets_min = 2\n"))
    scope.reread()


async def _other_key(scope: Scope) -> None:
    """The secret of one enactor was changed, and that of the server was not."""
    (scope.folder / f"{VICTIM}.secret").write_text(FOREIGN_SECRET + "\n")


# -- the zone's servers


def _reconfigured(before: str, after: str) -> Begin:
    """Another text in the primary's config, which starts anew."""

    async def change(scope: Scope) -> None:
        path = scope.primary.dir / scope.primary.template
        text = path.read_text()
        assert before in text
        await asyncio.to_thread(scope.primary.stop)
        path.write_text(text.replace(before, after))
        await asyncio.to_thread(scope.primary.start)

    return change


async def _primary_moved(scope: Scope) -> None:
    """The two servers change places, and nobody told enactord."""
    assert isinstance(scope.primary, MovableBind)
    await asyncio.to_thread(scope.secondary.become, None)
    await asyncio.to_thread(scope.primary.become, scope.secondary)


async def _primary_cut(scope: Scope) -> None:
    scope.to_primary.drop()


async def _zone_from_file(scope: Scope) -> None:
    """The primary has lost what updates have brought: it starts from the file of its first day."""
    await asyncio.to_thread(scope.primary.stop)
    for journal in scope.primary.dir.glob(f"{ZONE}zone.*"):
        journal.unlink()
    scope.primary.write_zones()
    await asyncio.to_thread(scope.primary.start)


async def _ttl_capped(scope: Scope) -> None:
    await _reconfigured("type primary; update", "type primary; max-zone-ttl 60; update")(scope)
    scope.planning = False
    await scope.publish(scope.applied, ttl_s=300)


async def _negative_ttl(scope: Scope) -> None:
    """It is read every five minutes, which are not divided: one enactor reads it anew by its start."""
    soa = f"ns.{ZONE} hostmaster.{ZONE} 999999 3600 600 86400 3600"
    await scope.edit(lambda update: update.replace(ZONE, 3600, "SOA", soa))
    await scope.restart(VICTIM)


# -- names and the fence, by somebody else's hand


def _once(change: Callable[[dns.update.UpdateMessage, str], None]) -> Begin:
    return lambda scope: scope.edit(lambda update: change(update, scope.first))


def _for_ever(change: Callable[[dns.update.UpdateMessage, str], None]) -> Begin:
    async def begin(scope: Scope) -> None:
        async def again() -> None:
            while True:
                await _once(change)(scope)
                await asyncio.sleep(_AGAIN_S)

        writing = asyncio.create_task(again())
        scope.stack.callback(writing.cancel)

    return begin


def _empty(update: dns.update.UpdateMessage, name: str) -> None:
    update.delete(name, "A")


def _move(update: dns.update.UpdateMessage, name: str) -> None:
    update.replace(name, 5, "A", *_CONTENT)


def _unfence(update: dns.update.UpdateMessage, name: str) -> None:
    update.delete(f"_enactord.{ZONE}", "TXT")


# -- planners and operators


async def _held(scope: Scope) -> None:
    """The planner goes on with a name that has no address."""
    scope.applied[scope.first] = []


async def _silent(scope: Scope) -> None:
    """A planner that published all the time says nothing any more."""
    scope.planning = False
    for number in range(_PLANS_SEEN):
        await scope.publish(scope.applied | {scope.first: [f"10.1.0.{50 + number}"]})
        await scope.scraped()


_STORE, _ZONE, _ID = {"part": "store"}, {"part": "zone"}, {"part": "id"}
_EMPTIED, _DRIFTED = {"kind": "emptied"}, {"kind": "drifted"}
_NO_ANSWER = "does not answer"
_NOT_AS_IT_MUST = "answers, and not as it must (key, clock"
_OTHER_FENCE = "its fence is not one to write under"

TRIALS: dict[str, Trial] = {
    # The store.
    "store stopped": Trial(begin=_known("the store is away"), alert="EnactordStoreDown"),
    "store hangs": Trial(begin=_known("the store hangs"), alert="EnactordStoreDown"),
    "store full (NOSPACE)": Trial(begin=_known("the store has no room"), alert="EnactordStoreFull"),
    "store emptied": Trial(begin=_store_emptied, alert="EnactordIdentity", labels=_STORE),
    "store of another installation": Trial(begin=_store_of_others, alert="EnactordIdentity", labels=_STORE),
    "store set back to an old copy": Trial(
        begin=_store_set_back,
        alert="EnactordFenceAhead",
        why="its text names the backup; EnactordGenerationWentBack says the same for the hour after, also where no"
        " fence is ahead any more",
    ),
    "store: chunks of the newest plan lost": Trial(
        begin=_chunk_lost,
        alert="EnactordPlanRefused",
        labels={"guard": "unreadable"},
        why="a plan that cannot be read is refused, and the text says so",
    ),
    "store: plans deleted": Trial(begin=_plans_deleted, alert="EnactordNeededPlanMissing"),
    "store: head damaged": Trial(begin=_head_damaged, alert="EnactordStoreDamaged", labels={"kind": "head"}),
    "store: limits damaged": Trial(begin=_limits_damaged, alert="EnactordStoreDamaged", labels={"kind": "limits"}),
    "store: a value of another version": Trial(
        begin=_known("a value of another version"), alert="EnactordOtherFormat", labels={"kind": "retired"}
    ),
    "one enactor cut off from the store": Trial(begin=_store_cut, alert="EnactordStoreUnreachable"),
    # Enactors.
    "one enactor killed": Trial(begin=_killed, alert="EnactordDown"),
    "one enactor stopped (SIGSTOP)": Trial(begin=_stopped, alert="EnactordDown"),
    "all enactors killed": Trial(begin=_all_killed, alert="EnactordAllDown"),
    "two enactors of one id": Trial(begin=_same_id, alert="EnactordIdentity", labels=_ID),
    "local copy cannot be written": Trial(begin=_known("no copy on local disk"), alert="EnactordCopyFailing"),
    "config refused": Trial(begin=_known("a config that is refused"), alert="EnactordConfigRefused"),
    "other limits in one config": Trial(begin=_other_limits, alert="EnactordLimitsDiffer"),
    "log has no room": Trial(begin=_log_full, alert="EnactordLogLinesLost"),
    "certificate has ten days left": Trial(begin=_certificate(10), alert="EnactordCertificateExpiresSoon"),
    "certificate has one day left": Trial(begin=_certificate(1), alert="EnactordCertificateExpires"),
    "clock of one enactor ten minutes ahead": Trial(
        begin=_clock_ahead,
        alert="EnactordZoneUnreachable",
        says=_NOT_AS_IT_MUST,
        why="its signatures are refused, and the text names the clock beside the key; `/readyz` says BADTIME",
    ),
    "one enactor with another key": Trial(begin=_other_key, alert="EnactordZoneUnreachable", says=_NOT_AS_IT_MUST),
    "one enactor cut off from the primary": Trial(begin=_primary_cut, alert="EnactordZoneUnreachable", says=_NO_ANSWER),
    # The zone's servers.
    "primary stopped": Trial(begin=_known("the primary is away"), alert="EnactordZoneDown", says=_NO_ANSWER),
    "primary stopped (PowerDNS)": Trial(
        begin=_known("the primary is away"), alert="EnactordZoneDown", says=_NO_ANSWER, primary=PowerDns
    ),
    "primary hangs": Trial(begin=_known("the primary hangs"), alert="EnactordZoneDown", says=_NO_ANSWER),
    "primary hangs (Knot DNS)": Trial(
        begin=_known("the primary hangs"), alert="EnactordZoneDown", says=_NO_ANSWER, primary=Knot
    ),
    "primary has another key": Trial(
        begin=_reconfigured(SECRET, FOREIGN_SECRET), alert="EnactordZoneDown", says=_NOT_AS_IT_MUST
    ),
    "primary refuses updates": Trial(
        begin=_reconfigured("grant enactor zonesub A AAAA TXT;", ""),
        alert="EnactordZoneDown",
        says="its policy forbids them",
    ),
    "primary moved": Trial(
        begin=_primary_moved,
        alert="EnactordZoneDown",
        says="it is the primary no more",
        why="a secondary refuses updates, and the text names that; `/readyz` says that it is one",
    ),
    "primary starts from an old zone file": Trial(
        begin=_zone_from_file, alert="EnactordFenceLost", why="its text names a zone that was loaded anew"
    ),
    "secondary stopped": Trial(begin=_known("the secondary is away"), alert="EnactordServerAway"),
    "secondary hangs": Trial(begin=_known("the secondary hangs"), alert="EnactordServerAway"),
    "secondary lags": Trial(begin=_known("the secondary is behind"), alert="EnactordServerBehind"),
    "TTLs capped by the primary": Trial(begin=_ttl_capped, alert="EnactordTtlKept"),
    "negative TTL of an hour": Trial(begin=_negative_ttl, alert="EnactordNegativeTtlLong"),
    # The fence.
    "fence removed": Trial(begin=_once(_unfence), alert="EnactordFenceLost"),
    "fence removed (Knot DNS)": Trial(begin=_once(_unfence), alert="EnactordFenceLost", primary=Knot),
    "fence of another scope": Trial(begin=_known("a fence of another scope"), alert="EnactordIdentity", labels=_ZONE),
    "fence of another installation": Trial(
        begin=_known("a fence of another installation"), alert="EnactordIdentity", labels=_ZONE
    ),
    "fence of another version": Trial(
        begin=_known("a fence of another version"), alert="EnactordIdentity", labels=_ZONE
    ),
    "fence far above": Trial(begin=_known("a fence far above"), alert="EnactordZoneDown", says=_OTHER_FENCE),
    "fence held by an operator": Trial(
        begin=_known("an operator holds the zone"), alert="EnactordZoneDown", says="an operator holds"
    ),
    # Names.
    "name emptied once": Trial(begin=_once(_empty), alert="EnactordRepairs", labels=_EMPTIED),
    "name emptied once (PowerDNS)": Trial(
        begin=_once(_empty), alert="EnactordRepairs", labels=_EMPTIED, primary=PowerDns
    ),
    "name changed once": Trial(begin=_once(_move), alert="EnactordRepairs", labels=_DRIFTED),
    "name emptied again and again": Trial(begin=_for_ever(_empty), alert="EnactordRepairs", labels=_EMPTIED),
    "name changed again and again": Trial(begin=_for_ever(_move), alert="EnactordRepairs", labels=_DRIFTED),
    "name emptied while frozen": Trial(
        begin=_known("emptied and frozen"),
        alert="EnactordEndpointEmpty",
        why="what clients suffer from comes first; the freeze is told once it has lasted",
    ),
    "CNAME at a name": Trial(begin=_known("a CNAME stands there"), alert="EnactordEndpointsDrifted"),
    "delegation above a name": Trial(
        begin=_known("a delegation covers it"),
        alert="EnactordEndpointsHeld",
        why="a covered name is held, and the description names a delegation",
    ),
    # Plans.
    "plan refused": Trial(
        begin=_alone("a plan is refused"), alert="EnactordPlanRefused", labels={"guard": "endpoints_removed"}
    ),
    "endpoint held": Trial(begin=_held, alert="EnactordEndpointsHeld"),
    "frozen": Trial(begin=_known("frozen"), alert="EnactordFrozen"),
    "planner paused": Trial(begin=_known("the planner is paused"), alert="EnactordPlannerPaused"),
    "planner says nothing any more": Trial(begin=_silent, alert="EnactordNoPlan"),
}
