"""Whether this enactor's id is its own, its limits are those in force, and nobody has frozen the scope."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from enactord.client.process import ask_process
from enactord.config.tables import Config
from enactord.core.moment import utc
from enactord.doctor.check import Check, Group, State
from enactord.ports import KeyValue
from enactord.store.control import parse_freeze
from enactord.store.keys import Keys
from enactord.store.layout import ENACTOR
from enactord.store.limits import differences, read_ruling
from enactord.store.session import RENEWED_S, configured_zones, process_of

_LISTEN_S = RENEWED_S + 2.0
"""A process alive says anew within this time what it does."""
_ANSWER_S = 2.0
_FIX = "give each enactor an id of its own in enactor.id, and restart it; %H stands for the machine's name"


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
    """Tell who is alive, and whether another process than that on this machine has this id. Raises `StoreDown`.

    Of two processes with one id the store knows the first alone: it keeps the other out. So the process that the store
    knows is compared with the one that answers at this config's HTTP.
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
    at = ", ".join(str(address) for address in config.http.listen)
    state, fix = State.WARNING, _FIX
    match await _process_here(config):
        case None:
            seen = f"an enactor with this id is alive, and none listens at {at} of this machine: it may be another one"
        case "":
            seen = f"an enactor with this id is alive, and what listens at {at} does not tell whether it is that one"
            fix = f"look what listens there: curl http://{config.http.listen[0]}/readyz"
        case here:
            match await _keeps_out(store, keys.enactor(own), here):
                case True:
                    seen = f"another process with this id is alive, and keeps out the one that listens at {at}"
                    state = State.FAULT
                case False:
                    seen, state, fix = "one enactor with this id is alive, and listens on this machine", State.OK, ""
                case None:
                    seen = "a process that had this id before, and says nothing any more, still has its lease"
                    fix = f"run the doctor again in {config.settings.claim_ttl_s} s, when the lease has ended"
    return [*checks, Check(group=Group.ENACTORS, subject=subject, state=state, seen=seen, fix=fix)]


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


async def _keeps_out(store: KeyValue, key: str, here: str) -> bool | None:
    """Whether another process than the one here has the id. Takes some seconds where it looks so.

    After a crash the store knows the process of before until its lease ends. That one never says anything anew, and one
    alive does: None where nothing was said. Raises `StoreDown`.
    """
    page = await store.range(key)
    if not page.items or process_of(page.items[0].value) == here:
        return False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LISTEN_S):
            following = store.watch(key, start_revision=page.revision + 1)
            async with contextlib.aclosing(following) as changes:  # type: ignore[type-var]
                async for change in changes:
                    for event in change.events:
                        if event.key == key:
                            return event.item is not None and process_of(event.item.value) != here
    return None


async def _process_here(config: Config) -> str | None:
    """Return the process at this config's HTTP; "" where what listens does not tell; None where nothing listens."""
    silent = False
    for address in config.http.listen:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
        found = await ask_process(host, address.port, tls=bool(config.http.tls_cert), timeout_s=_ANSWER_S)
        if found:
            return found
        silent = silent or found is not None
    return "" if silent else None


def _text(value: object) -> str:
    """Return a limit as it is typed."""
    return str(value).lower()
