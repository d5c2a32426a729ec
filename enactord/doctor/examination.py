"""All checks of one config, side by side, each with a time limit: a part that hangs or fails stops no other."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from enactord.backends.backend import ZoneConfig
from enactord.clock import SystemClock
from enactord.config.store import open_config_store
from enactord.config.tables import Config
from enactord.core.errors import EnactordError, StoreDown, StoreRefused
from enactord.daemon.certificates import certificates_of
from enactord.doctor.aside import beside
from enactord.doctor.certificates import check_certificates
from enactord.doctor.check import Check, Group, Report, State
from enactord.doctor.clock import check_store_clock
from enactord.doctor.connections import check_connections
from enactord.doctor.disk import check_disk
from enactord.doctor.enactors import check_enactors, check_fleet, check_freeze, check_limits
from enactord.doctor.installation import AS_USER, Identity, check_installation, read_identity
from enactord.doctor.store import check_members, check_transaction, not_made
from enactord.doctor.zones import check_zone
from enactord.ports import Clock, KeyValue

_DISK_LIMIT_S = 10.0
_STORE_ANSWERS = 8
"""Answers of the store that the longest part waits for, one after the other."""
_ZONE_ANSWERS = 12
"""So does a look at a zone, on each of its servers."""
_SERVERS_AT_ONCE = 16
_SERVER_LIMIT_S = 120.0
_ALIVE_S = 18.0
"""Besides, an enactor says within this time that it is alive."""

Progress = Callable[[int, int], None]
"""Told how many parts are done, of how many."""


async def examine(config: Config, *, clock: Clock | None = None, progress: Progress = lambda _, __: None) -> Report:
    """Look at everything that an enactor with this config needs. It changes nothing that matters, and never raises.

    `clock`: this machine's.
    """
    parts = [*_parts(config, clock or SystemClock(), await read_identity(config))]
    done = 0

    async def one(part: Awaitable[list[Check]]) -> list[Check]:
        nonlocal done
        try:
            return await part
        finally:
            done += 1
            progress(done, len(parts))

    found = [check for checks in await asyncio.gather(*(one(part) for part in parts)) for check in checks]
    return Report(checks=_in_order(found))


def _parts(config: Config, clock: Clock, identity: Identity) -> Iterable[Awaitable[list[Check]]]:
    limit_s = _STORE_ANSWERS * config.store.timeout_s + _ALIVE_S
    yield told(Group.CONFIG, str(config.source.path), _DISK_LIMIT_S, _warnings(config))
    yield told(Group.CERTIFICATES, "files", _DISK_LIMIT_S, _certificates(config, clock))
    yield told(Group.DISK, str(config.enactor.state_dir), _DISK_LIMIT_S, beside(lambda: check_disk(config)))
    yield told(Group.STORE, config.store.url, limit_s, _transaction(config))
    yield told(Group.STORE, "members", limit_s, check_members(config))
    yield told(Group.STORE, "installation", limit_s, check_installation(identity))
    for group, subject, check in (
        (Group.CONFIG, "guard", check_limits),
        (Group.ENACTORS, f"scope {config.enactor.scope}", check_freeze),
        (Group.ENACTORS, f"enactor.id {config.enactor.id}", check_enactors),
        (Group.ENACTORS, "zones of the others", check_fleet),
    ):
        yield told(group, subject, limit_s, _over_store(group, subject, config, check))
    yield told(Group.CLOCK, "store", limit_s, check_store_clock(config, clock))
    gate = asyncio.Semaphore(_SERVERS_AT_ONCE)
    by_server: dict[str, list[ZoneConfig]] = {}
    for zone in config.zones:
        by_server.setdefault(zone.asked_server, []).append(zone)
    for zones in by_server.values():
        yield _zones(config, zones, clock, identity, gate)


async def _zones(
    config: Config, zones: Sequence[ZoneConfig], clock: Clock, identity: Identity, gate: asyncio.Semaphore
) -> list[Check]:
    """Look at the zones of a server, one after the other, and after them at its connections.

    A server bounds the connections of all its clients together, and enactors at work need theirs.
    """
    loop = asyncio.get_running_loop()
    found: list[Check] = []
    async with gate:
        deadline = loop.time() + _SERVER_LIMIT_S
        for done, zone in enumerate(zones):
            if loop.time() > deadline:
                seen = (
                    f"{len(zones) - done} zones of {zone.asked_server} were not looked at within {_SERVER_LIMIT_S:g} s"
                )
                fix = "see the zones before them; then run the doctor again"
                found.append(Check(group=Group.ZONES, subject="others", state=State.UNKNOWN, seen=seen, fix=fix))
                break
            limit_s = min(_SERVER_LIMIT_S, _ZONE_ANSWERS * zone.timeout_s * max(1, len(zone.own_servers)))
            found += await told(Group.ZONES, zone.name, limit_s, check_zone(config, zone, clock, identity.own))
        first = zones[0]
        for server in first.own_servers:
            asked = check_connections(server, first.name, first.timeout_s)
            found += await told(Group.CONNECTIONS, str(server), 3 * first.timeout_s, _listed(asked))
    return found


async def told(group: Group, subject: str, limit_s: float, part: Awaitable[Sequence[Check]]) -> list[Check]:
    """Carry out a part within its time; whatever ends it early becomes a check whose answer is not known."""
    try:
        async with asyncio.timeout(limit_s):
            return list(await part)
    except TimeoutError:
        seen, fix = f"no end within {limit_s:.0f} s", "see the other faults; then run the doctor again"
    except EnactordError as error:
        seen, fix = str(error), "mend what is told of the store and the servers; then run the doctor again"
    except PermissionError as error:
        seen, fix = f"user {os.geteuid()} may not look at {error.filename or subject}", AS_USER
    except Exception as error:
        seen, fix = f"an error that no rule foresees: {error!r}", "report it, with the config but for its secrets"
    return [Check(group=group, subject=subject, state=State.UNKNOWN, seen=seen, fix=fix)]


async def _warnings(config: Config) -> list[Check]:
    path = str(config.source.path)
    if not config.warnings:
        return [Check(group=Group.CONFIG, subject=path, state=State.OK, seen="every key can be used")]
    fix = f"enactord check-config {path}"
    return [
        Check(group=Group.CONFIG, subject=path, state=State.WARNING, seen=warning, fix=fix)
        for warning in config.warnings
    ]


async def _certificates(config: Config, clock: Clock) -> list[Check]:
    return check_certificates(certificates_of(config), clock.now())


async def _transaction(config: Config) -> list[Check]:
    unmade = await beside(lambda: not_made(config))
    if unmade is not None:
        return [unmade]
    async with _opened(config) as store:
        return [await check_transaction(config, store)]


async def _over_store(
    group: Group, subject: str, config: Config, check: Callable[[Config, KeyValue], Awaitable[Sequence[Check]]]
) -> Sequence[Check]:
    """Look at what stands in the store; where it does not answer, that is told once, by its transaction."""
    try:
        if await beside(lambda: not_made(config)) is not None:
            return []
    except PermissionError:
        return [_silent(group, subject)]
    async with _opened(config) as store:
        try:
            return await check(config, store)
        except (StoreDown, StoreRefused):
            return [_silent(group, subject)]


def _silent(group: Group, subject: str) -> Check:
    return Check(group=group, subject=subject, state=State.UNKNOWN, seen="the store does not tell", fix="see the store")


async def _listed(check: Awaitable[Check]) -> list[Check]:
    return [await check]


@asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[KeyValue]:
    store = await open_config_store(config)
    try:
        yield store
    finally:
        with suppress(EnactordError, OSError):
            await store.close()


def _in_order(checks: Iterable[Check]) -> list[Check]:
    """Return checks by group; one server's clock, which each of its zones shows, once."""
    order = list(Group)
    clocks: set[str] = set()
    kept = []
    for check in checks:
        if check.group is Group.CLOCK:
            if check.subject in clocks:
                continue
            clocks.add(check.subject)
        kept.append(check)
    return sorted(kept, key=lambda check: order.index(check.group))
