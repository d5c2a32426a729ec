"""From a config to an enactor with its ports: the only place where backends and stores are opened."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from enactord.backends import ALL
from enactord.backends.backend import Site
from enactord.clock import SystemClock
from enactord.config.store import open_config_store
from enactord.config.tables import Config
from enactord.core.errors import ConfigError
from enactord.engine.settings import Ports, ZonePorts
from enactord.ports import Observer
from enactord.stores.local_copy import SqliteLocalCopy


@asynccontextmanager
async def open_zones(config: Config) -> AsyncIterator[Mapping[str, ZonePorts]]:
    """Open every zone of a config; connections are made when they are needed. Raises `ConfigError`."""
    settings = {zone.name: zone for zone in config.settings.zones}
    async with AsyncExitStack() as stack:
        site = Site(
            stack,
            state_dir=config.enactor.state_dir,
            clock=SystemClock(),
            open_store=lambda: open_config_store(config),
        )
        opened: dict[str, ZonePorts] = {}
        for zone in config.zones:
            connected = await ALL[zone.backend].connect(zone, site)
            stack.push_async_callback(connected.zone.close)
            opened[zone.name] = ZonePorts(
                settings=settings[zone.name],
                zone=connected.zone,
                verifiers=connected.verifiers,
                primaries=connected.primaries,
            )
        yield opened


@asynccontextmanager
async def serve_zones(config: Config) -> AsyncIterator[None]:
    """Run, while the context lasts, what zones need in this process: the embedded DNS server. Raises `ConfigError`."""
    async with AsyncExitStack() as stack:
        for backend in ALL.values():
            zones = [zone for zone in config.zones if zone.backend == backend.name]
            if zones:
                await stack.enter_async_context(backend.serve(zones, config.enactor.state_dir))
        yield


@asynccontextmanager
async def open_ports(config: Config, observer: Observer) -> AsyncIterator[Ports]:
    """Open everything that an enactor needs; store and servers may be away. Raises `ConfigError`."""
    state_dir = config.enactor.state_dir
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        probe = state_dir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        detail = f"enactor.state_dir: {state_dir}: {error.strerror}; make it, writable for this user"
        raise ConfigError((detail,)) from error
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve_zones(config))
        zones = await stack.enter_async_context(open_zones(config))
        store = await open_config_store(config)
        stack.push_async_callback(store.close)
        copy = SqliteLocalCopy(state_dir)
        stack.push_async_callback(copy.close)
        yield Ports(store=store, zones=zones, clock=SystemClock(), observer=observer, copy=copy)
