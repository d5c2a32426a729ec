"""Opening what a verb works on: the config, the store, and where asked the zones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from enactord.cli.program import config_path
from enactord.cli.terminal import warn
from enactord.clock import SystemClock
from enactord.config.reader import load_config
from enactord.config.store import open_config_store
from enactord.config.tables import Config
from enactord.core.errors import ConfigError, EnactordError
from enactord.engine.settings import Settings, ZonePorts
from enactord.operations.copied import copied_installation
from enactord.operations.scope import Scope
from enactord.store.fences import Fences
from enactord.store.keys import Keys
from enactord.store.limits import Ruling, read_ruling
from enactord.store.reports import WAIT_S

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """A scope, with what its config says besides."""

    scope: Scope
    config: Config
    settings: Settings
    ruling: Ruling
    """The limits of the guards that are in force; scope and settings have them."""

    @asynccontextmanager
    async def zones(self) -> AsyncIterator[Mapping[str, ZonePorts]]:
        """Open the zones while the context lasts, each on the server that its record names. Raises `StoreDown`."""
        from enactord.daemon.wiring import open_zones  # with all backends, which few commands need

        async with open_zones(self.config) as zones:
            await asyncio.gather(*(self._settle(zone, ports) for zone, ports in zones.items()))
            yield zones

    async def wiped_store(self) -> str:
        """Return why nothing should be published into this store: an enactor's copy here knows of a fuller one.

        Whatever is published into a store that was wiped is lost, once the store is restored.
        """
        store, keys = self.scope.store, self.scope.keys
        if await store.get([keys.installation]):
            return ""
        enactor = self.config.enactor
        copied = await asyncio.to_thread(copied_installation, enactor.state_dir, enactor.scope)
        if not copied:
            return ""
        return (
            f"the plan store has no installation's id, and the local copy in {enactor.state_dir} is of installation"
            f" {copied}: the store was wiped, or is another one; enactorctl restore --from-copy, or correct store.url"
        )

    async def _settle(self, zone: str, ports: ZonePorts) -> None:
        """Go by the server that the zone is written on. Raises `ConfigError` where this config does not name it."""
        record = await Fences(self.scope.store, self.scope.keys).read(zone)
        if record is not None and not ports.names(record.primary):
            named = ", ".join(ports.settings.primaries)
            detail = f"zone.server: {zone} is written on {record.primary}, and this config names {named}; name it, too"
            raise ConfigError((detail,))
        from enactord.backends.rfc2136.primaries import SeveralServers

        if isinstance(ports.zone, SeveralServers):
            await ports.zone.settle("" if record is None else record.primary)


@asynccontextmanager
async def open_tools(*, wait_s: float = WAIT_S) -> AsyncIterator[Tools]:
    """Read the config that the command names, and open its store. Raises `ConfigError`.

    `wait_s`: how long a publication waits for a report of an enactor.
    """
    config = load_config(config_path(), for_daemon=False)
    settings = config.settings
    store = await open_config_store(config)
    try:
        zones = [zone.name for zone in settings.zones]
        ruling = await read_ruling(store, Keys(settings.scope), settings.limits)
        if ruling.problem:
            warn(f"limits: {ruling.problem}")
        scope = Scope(
            store=store,
            name=settings.scope,
            zones=zones,
            limits=ruling.limits,
            clock=SystemClock(),
            wait_s=wait_s,
            answers={zone.name: zone.answers_max for zone in settings.zones},
        )
        yield Tools(scope=scope, config=config, settings=settings.ruled(ruling.limits), ruling=ruling)
    finally:
        with suppress(EnactordError, OSError):  # what was asked is done or not: letting go does not decide it
            await store.close()


def run_with_tools(work: Callable[[Tools], Awaitable[T]], *, wait_s: float | None = None) -> T:
    """Do a piece of work on what `open_tools` opens, and return what came of it."""

    async def run() -> T:
        async with open_tools(wait_s=WAIT_S if wait_s is None else wait_s) as tools:
            return await work(tools)

    return asyncio.run(run())


@asynccontextmanager
async def open_scope(*, wait_s: float = WAIT_S) -> AsyncIterator[Scope]:
    """Open the scope of the config that the command names, as `open_tools` does. Raises `ConfigError`."""
    async with open_tools(wait_s=wait_s) as tools:
        yield tools.scope
