"""Whether this enactor's id is its own, its limits are those in force, and nobody has frozen the scope."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from enactord.core.errors import EnactordError
from enactord.core.moment import utc
from enactord.daemon.config import Config
from enactord.daemon.doctor.check import Check, Group, State
from enactord.ports import KeyValue
from enactord.registry.control import parse_freeze
from enactord.registry.keys import Keys
from enactord.registry.limits import differences, read_ruling
from enactord.registry.reports import REPORT_EVERY_S
from enactord.registry.session import configured_zones
from enactord.store.layout import ENACTOR

_LISTEN_S = REPORT_EVERY_S + 1.5
_CONNECT_S = 1.0


async def check_limits(config: Config, store: KeyValue) -> Sequence[Check]:
    """Compare the limits in force with the table [guard] of the config. Raises `StoreDown`."""
    ruling = await read_ruling(store, Keys(config.enactor.scope), config.guard)
    if ruling.problem:
        fix = "enactorctl limits; then: enactorctl limits set KEY VALUE --reason TEXT"
        return [Check(group=Group.CONFIG, subject="guard", state=State.FAULT, seen=ruling.problem, fix=fix)]
    found = differences(ruling, config.guard)
    if not found:
        seen = "the limits in force are those of [guard]"
        return [Check(group=Group.CONFIG, subject="guard", state=State.OK, seen=seen)]
    return [
        Check(
            group=Group.CONFIG,
            subject=f"guard.{name}",
            state=State.WARNING,
            seen=f"in force is {_text(used)}, and this config says {_text(configured)}",
            fix=f"put {name} = {_text(used)} into [guard], or: enactorctl limits set {name} {_text(configured)}"
            " --reason TEXT",
        )
        for name, (used, configured) in found.items()
    ]


async def check_freeze(config: Config, store: KeyValue) -> Sequence[Check]:
    """Tell of a freeze: while it lasts, no plan is applied. Raises `StoreDown`."""
    key = Keys(config.enactor.scope).freeze
    item = (await store.get([key])).get(key)
    subject = f"scope {config.enactor.scope}"
    if item is None:
        return [Check(group=Group.ENACTORS, subject=subject, state=State.OK, seen="it is not frozen")]
    freeze = parse_freeze(item.value)
    seen = f"it is frozen ({freeze.mode}) since {utc(freeze.since)} by {freeze.author or '-'}: {freeze.reason}"
    return [Check(group=Group.ENACTORS, subject=subject, state=State.WARNING, seen=seen, fix="enactorctl thaw")]


async def check_enactors(config: Config, store: KeyValue) -> Sequence[Check]:
    """Tell who is alive, and whether two enactors have this id. Takes some seconds where one has it.

    Each enactor reports under a lease of its own, so the reports of two show two leases. Raises `StoreDown`.
    """
    keys, own = Keys(config.enactor.scope), config.enactor.id
    items = (await store.range(*keys.bounds(ENACTOR))).items
    alive = [keys.split(item.key)[1] for item in items]
    named = f"{len(alive)} alive: {', '.join(alive[:8])}{' …' if len(alive) > 8 else ''}" if alive else "none is alive"
    checks = [Check(group=Group.ENACTORS, subject="alive", state=State.OK, seen=named)]
    subject = f"enactor.id {own}"
    if own not in alive:
        seen = "no enactor with this id is alive"
        return [*checks, Check(group=Group.ENACTORS, subject=subject, state=State.OK, seen=seen)]
    leases = {item.lease for item in items if keys.split(item.key)[1] == own}
    leases |= await _leases_of_reports(store, keys, own)
    fix = "give each enactor an id of its own in enactor.id, and restart it; %H stands for the machine's name"
    if len(leases) > 1:
        seen = f"{len(leases)} enactors alive have this id: each takes the claims of the other"
        return [*checks, Check(group=Group.ENACTORS, subject=subject, state=State.FAULT, seen=seen, fix=fix)]
    if not await _listens(config):
        at = ", ".join(str(address) for address in config.http.listen)
        seen = f"an enactor with this id is alive, and none listens at {at} of this machine: it may be another one"
        return [*checks, Check(group=Group.ENACTORS, subject=subject, state=State.WARNING, seen=seen, fix=fix)]
    seen = "one enactor with this id is alive, and listens on this machine"
    return [*checks, Check(group=Group.ENACTORS, subject=subject, state=State.OK, seen=seen)]


async def check_fleet(config: Config, store: KeyValue) -> Sequence[Check]:
    """Compare the zones of this config, and their servers, with those of the enactors alive. Raises `StoreDown`."""
    ours: dict[str, object] = {zone.name: sorted(zone.primaries) for zone in config.zones}
    checks = []
    for enactor, theirs in sorted((await configured_zones(store, Keys(config.enactor.scope))).items()):
        if theirs is None or enactor == config.enactor.id:
            continue
        known = {zone: sorted(servers) for zone, servers in theirs.items() if isinstance(servers, list)}
        differing = sorted(zone for zone in {*ours, *known} if ours.get(zone) != known.get(zone))
        if differing:
            more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
            zone = differing[0]
            seen = f"{zone}{more}: it has {_servers(known, zone)}, and this config has {_servers(ours, zone)}"
            fix = "give the enactors of a scope the same [[zone]] tables, and reload them: systemctl reload enactord"
            subject = f"zones of {enactor}"
            checks.append(Check(group=Group.ENACTORS, subject=subject, state=State.WARNING, seen=seen, fix=fix))
    return checks


def _servers(zones: Mapping[str, object], zone: str) -> str:
    """Return what a config has of a zone, for people."""
    servers = zones.get(zone)
    if servers is None:
        return "no such zone"
    return f"server {', '.join(map(str, servers))}" if isinstance(servers, list) and servers else "the zone"


async def _leases_of_reports(store: KeyValue, keys: Keys, own: str) -> set[int]:
    """Follow the reports of an id for as long as each enactor needs for one; ends early at the second lease."""
    key = keys.report(own)
    page = await store.range(key)
    leases = {item.lease for item in page.items}
    with contextlib.suppress(TimeoutError, EnactordError):
        async with asyncio.timeout(_LISTEN_S):
            following = store.watch(key, start_revision=page.revision + 1)
            async with contextlib.aclosing(following) as changes:  # type: ignore[type-var]
                async for change in changes:
                    leases |= {event.item.lease for event in change.events if event.item and event.key == key}
                    if len(leases) > 1:
                        break
    return leases


async def _listens(config: Config) -> bool:
    """Whether anything takes connections where this config's HTTP is served."""
    for address in config.http.listen:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, writer = await asyncio.open_connection(host, address.port)
        except (OSError, TimeoutError):
            continue
        writer.close()
        return True
    return False


def _text(value: object) -> str:
    """Return a limit as it is typed."""
    return str(value).lower()
