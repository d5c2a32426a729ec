"""emergency: straight to the DNS server, when daemons and store are gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn

import click

from enactord.backends.rfc2136.primaries import SeveralServers
from enactord.cli.given import REASON
from enactord.cli.opening import open_scope
from enactord.cli.program import Verbs, config_path, examples, on_site
from enactord.cli.publish import author_or_user
from enactord.cli.terminal import Out, deny, tell_done, warn
from enactord.config.reader import load_config
from enactord.config.store import open_config_store
from enactord.config.tables import Config
from enactord.core.content import pack_address
from enactord.core.errors import EnactordError, StoreDown, StoreRefused
from enactord.core.fence import Owner
from enactord.core.names import fence_name, parse_name, zone_of
from enactord.core.records import Records
from enactord.core.render import ANSWERS_MAX_LIMIT
from enactord.daemon.wiring import open_zones
from enactord.engine.settings import ZonePorts
from enactord.operations import audit
from enactord.operations import emergency as acts
from enactord.operations.copied import copied_installation
from enactord.operations.emergency import Taken
from enactord.operations.scope import Denied
from enactord.store.audit import Deed, Facts
from enactord.store.fences import Fences
from enactord.store.keys import Keys, parse_installation

_STORE_PATIENCE_S = 2.0

_AUTHOR = click.option("--author", metavar="NAME", help="Who says so [default: you].")


@click.group(
    cls=Verbs,
    epilog=examples(
        """
enactorctl emergency set api.example.com 192.0.2.1 192.0.2.2 --zone example.com --reason "INC-4711"
enactorctl emergency seal example.com
enactorctl emergency release example.com
"""
    ),
)
@on_site
def emergency() -> None:
    """Act straight on the DNS server: no daemon and no store is needed.

    Each act raises the zone's fence in the same update, and holds it: no enactor, however
    late it wakes up, writes there until the zone is released. Enactors report "fence held
    by an operator" meanwhile.
    """


@emergency.command(
    name="set",
    epilog=examples(
        'enactorctl emergency set api.example.com 192.0.2.1 2001:db8::1 --zone example.com --reason "INC-4711"'
    ),
)
@click.argument("name", metavar="NAME")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("--zone", metavar="ZONE", required=True, help="The zone of the name, as the config has it.")
@click.option(
    "--reason", metavar="TEXT", type=REASON, required=True, help="Why; it stands in the zone's fence for all to read."
)
@click.option("--ttl", "ttl_s", metavar="SECONDS", type=click.IntRange(0, 86_400), default=30, show_default=True)
@_AUTHOR
@on_site
def set_(name: str, addresses: tuple[str, ...], zone: str, reason: str, ttl_s: int, author: str | None) -> int:
    """Make NAME serve exactly these addresses, and hold its zone.

    All A and AAAA records of the name are replaced. Guards do not apply: you know better.
    """
    wanted = parse_name(name)
    records = _records(addresses, ttl_s)
    who = author_or_user(author)
    told = {"name": wanted, "addresses": " ".join(addresses)}
    deed = _Deed(Deed.EMERGENCY_SET, parse_name(zone), who, reason, told)
    return _end(asyncio.run(_done(deed, _set(wanted, records, deed.zone, acts.hold_text(who, reason)))))


@emergency.command(epilog=examples("enactorctl emergency seal example.com --reason 'stop all automation'"))
@click.argument("zone", metavar="ZONE")
@click.option("--reason", metavar="TEXT", default="sealed", show_default=True, help="Why; it stands in the fence.")
@_AUTHOR
@on_site
def seal(zone: str, reason: str, author: str | None) -> int:
    """Hold ZONE as it is: no enactor writes there until it is released."""

    deed = _Deed(Deed.EMERGENCY_SEAL, parse_name(zone), author_or_user(author), reason)

    async def run() -> Taken | Denied:
        await _warn_of_enactors()
        async with _opened(deed.zone) as (owner, ports):
            return await acts.seal(ports, owner, acts.hold_text(deed.author, reason))

    return _end(asyncio.run(_done(deed, run())))


@emergency.command(epilog=examples("enactorctl emergency release example.com"))
@click.argument("zone", metavar="ZONE")
@click.option("--reason", metavar="TEXT", default="", help="Why; the audit log keeps it.")
@_AUTHOR
@on_site
def release(zone: str, reason: str, author: str | None) -> int:
    """Give ZONE back to the enactors: the next plan, above its fence, is applied, and drift is repaired.

    The store is told of the fence, so that the next publication goes above it. Where the
    store does not answer, an enactor tells it as soon as both are there: publish after that.
    """

    deed = _Deed(Deed.EMERGENCY_RELEASE, parse_name(zone), author_or_user(author), reason)

    async def run() -> tuple[Taken | Denied, bool]:
        async with _opened(deed.zone) as (owner, ports):
            done = await acts.release(ports, owner)
        told = isinstance(done, Taken) and await _tell_store(done)
        if isinstance(done, Taken):
            await _enter(deed, done)
        return done, told

    done, told = asyncio.run(run())
    if isinstance(done, Denied):
        return deny(done)
    tell_done(lambda: done.document() | {"store_told": told}, lambda out: _print_released(out, done, told=told))
    return 0


async def _warn_of_enactors() -> None:
    """Say where the store tells of enactors that are alive: then `freeze` stops them, and there is no emergency."""
    with suppress(TimeoutError, EnactordError, OSError):
        async with asyncio.timeout(_STORE_PATIENCE_S), open_scope() as scope:
            alive = sorted(presence.id for presence in (await scope.cache()).enactors)
            if alive:
                warn(
                    f"enactors are alive ({', '.join(alive)}) and the plan store answers: `enactorctl freeze` stops"
                    " them, and `enactorctl override` changes one name, without taking the fence"
                )


@dataclass(frozen=True, slots=True)
class _Deed:
    """What the audit log is to say of an act, when it is done."""

    deed: Deed
    zone: str
    author: str
    reason: str
    facts: Mapping[str, str] = field(default_factory=dict)


async def _done(deed: _Deed, act: Awaitable[Taken | Denied]) -> Taken | Denied:
    done = await act
    if isinstance(done, Taken):
        await _enter(deed, done)
    return done


async def _enter(deed: _Deed, done: Taken) -> None:
    """Enter what was done into the audit log, if the store is there; it may be gone, and is not waited for."""
    why = "the plan store does not answer"
    with suppress(TimeoutError):
        async with asyncio.timeout(_STORE_PATIENCE_S):
            try:
                async with open_scope() as scope:
                    facts: Facts = {"zone": deed.zone, "fence": done.fence.generation, **deed.facts}
                    why = await audit.enter(scope, deed.deed, author=deed.author, reason=deed.reason, facts=facts)
            except (EnactordError, OSError) as error:
                why = str(error)
    if why:
        warn(audit.missing(why))


async def _tell_store(done: Taken) -> bool:
    """Raise the store's fence to the zone's. A plan published before that could get a generation below it."""
    try:
        async with open_scope() as scope:
            fences = Fences(scope.store, scope.keys)
            if await fences.follow(done.zone, done.fence):
                return True
            known = await fences.read(done.zone)  # plans went on while the zone was held
            return known is not None and known.generation >= done.fence.generation
    except (StoreDown, StoreRefused):
        return False


async def _set(name: str, records: Records, zone: str, hold: str) -> Taken | Denied:
    async with _opened(zone, name) as (owner, ports):
        return await acts.set_records(ports, owner, name, records, hold)


@asynccontextmanager
async def _opened(zone: str, name: str = "") -> AsyncIterator[tuple[Owner, ZonePorts]]:
    """Open one zone of the config, without the store; yields whose zone it is, too, as far as that can be found out."""
    config = load_config(config_path(), for_daemon=False)
    settings = config.settings
    known = [each.name for each in settings.zones]
    if zone not in known:
        _wrong(f"{zone} is no zone of this config; it has: {', '.join(known)}")
    if name == fence_name(zone):
        _wrong(f"{name} carries the zone's fence: hold the zone with `enactorctl emergency seal` instead")
    if name and (lies_in := zone_of(name, known)) != zone:
        named = (
            f"; it is in {lies_in}: --zone {lies_in}" if lies_in else ", and in no zone of this config; correct NAME"
        )
        _wrong(f"{name} is not in {zone}{named}")
    async with open_zones(config) as zones:
        port = zones[zone].zone
        installation = copied_installation(config.enactor.state_dir, config.enactor.scope)
        if isinstance(port, SeveralServers) or not installation:
            primary, stored = await _recorded(config, zone)
            installation = installation or stored
            if isinstance(port, SeveralServers):
                await port.settle(primary)
                warn(f"{zone} is written on {port.current}; other servers of the config are left alone")
        yield Owner(scope=settings.scope, installation=installation or None), zones[zone]


async def _recorded(config: Config, zone: str) -> tuple[str, str]:
    """Return the server that the store says the zone is written on, and the installation's id.

    Each is "" where the store does not say it at once.
    """
    with suppress(TimeoutError, EnactordError, OSError):
        async with asyncio.timeout(_STORE_PATIENCE_S):
            store = await open_config_store(config)
            try:
                keys = Keys(config.settings.scope)
                record = await Fences(store, keys).read(zone)
                item = (await store.get([keys.installation])).get(keys.installation)
                found = None if item is None else parse_installation(item.value)
                return "" if record is None else record.primary, found if isinstance(found, str) else ""
            finally:
                await store.close()
    return "", ""


def _records(addresses: tuple[str, ...], ttl_s: int) -> Records:
    try:
        packed = sorted({pack_address(address) for address in addresses})
    except ValueError as error:
        _wrong(str(error))
    a = tuple(address for address in packed if len(address) == 4)
    aaaa = tuple(address for address in packed if len(address) == 16)
    if max(len(a), len(aaaa)) > ANSWERS_MAX_LIMIT:
        _wrong(f"at most {ANSWERS_MAX_LIMIT} addresses of a family")
    return Records(ttl_s=ttl_s, a=a, aaaa=aaaa)


def _wrong(message: str) -> NoReturn:
    raise click.UsageError(message)


def _end(done: Taken | Denied) -> int:
    if isinstance(done, Denied):
        return deny(done)
    tell_done(done.document, lambda out: _print(out, done))
    return 0


def _print(out: Out, done: Taken) -> None:
    out.line(f"{done.zone} stood at: {done.before}")
    if done.name:
        document = done.document()
        out.line(f"{done.name} was:    {' '.join(document['was']) or 'nothing'}")
        out.line(f"{done.name} serves: {' '.join(document['served']) or 'nothing'}")
    out.line(
        f"held at generation {done.fence.generation} ({done.fence.hold}); "
        f"give it back with: enactorctl emergency release {done.zone}"
    )


def _print_released(out: Out, done: Taken, *, told: bool) -> None:
    out.line(f"{done.zone} stood at: {done.before}")
    generation = done.fence.generation
    out.line(f"given back at generation {generation}: the next plan above it is applied")
    if not told:
        out.line(
            "the plan store could not be told: publish only when `enactorctl status` shows that generation as the"
            " zone's fence"
        )
