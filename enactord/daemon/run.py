"""One enactor as a process: from its config to its end by a signal."""

import asyncio
import os
import random
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from enactord import __version__
from enactord.daemon.collector import tune_collector
from enactord.daemon.config import Config
from enactord.daemon.http import STUCK_S, Pages, serve_http
from enactord.daemon.wiring import open_ports
from enactord.engine.enactor import Enactor
from enactord.telemetry.fanout import Fanout
from enactord.telemetry.log import LogObserver, make_logger
from enactord.telemetry.metrics import Metrics


async def serve(config: Config) -> None:
    """Run an enactor until SIGTERM or SIGINT. Raises `ConfigError`, `StoreRefused`, `StoreDown` at the start."""
    tune_collector()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    logger = make_logger(config.log.level, config.log.format, enactor=config.enactor.id, scope=config.enactor.scope)
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    metrics = Metrics(registry, [zone.name for zone in config.zones])
    observer = Fanout([LogObserver(logger), metrics])
    for warning in config.warnings:
        logger.warning("config.warning", detail=warning)
    async with AsyncExitStack() as stack:
        ports = await stack.enter_async_context(open_ports(config, observer))
        enactor = Enactor(config.settings, ports, random.Random())
        enactor.progress = loop.time()
        await stack.enter_async_context(serve_http(config.http, Pages(enactor, metrics, registry, config.http.token)))
        logger.info("started", version=__version__, http=str(config.http.listen), store=config.store.url)
        running = asyncio.create_task(enactor.run(), name="enactor")
        alive = asyncio.create_task(_tell_systemd(lambda: loop.time() - enactor.progress < STUCK_S), name="systemd")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            _notify("STOPPING=1")
            for task in (running, alive, stopping):
                task.cancel()
            await asyncio.gather(running, alive, stopping, return_exceptions=True)
    logger.info("stopped")


async def _tell_systemd(alive: Callable[[], bool]) -> None:
    """Say that we are ready, and keep the watchdog fed by the engine's own progress.

    Source: sd_notify(3), sd_watchdog_enabled(3).
    """
    _notify("READY=1")
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or int(microseconds) == 0:
        return
    while True:
        if alive():
            _notify("WATCHDOG=1")
        await asyncio.sleep(int(microseconds) / 1e6 / 3)


def _notify(state: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(state.encode(), address)
