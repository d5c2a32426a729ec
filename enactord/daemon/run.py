"""One enactor as a process: from its config to its end by a signal."""

import asyncio
import random
import signal
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

from enactord import __version__
from enactord.clock import SystemClock
from enactord.config.reader import read_text
from enactord.config.tables import Config
from enactord.core.errors import ConfigError, EnactordError
from enactord.daemon.collector import tune_collector
from enactord.daemon.file_watch import FileWatch
from enactord.daemon.notify import Notifier
from enactord.daemon.reload import Live, LiveLog
from enactord.daemon.wiring import open_ports
from enactord.engine.enactor import Enactor
from enactord.http.app import STUCK_S, Pages, serve_http
from enactord.http.feed import Feed
from enactord.operations.override import end_expired
from enactord.telemetry.failures import Failures
from enactord.telemetry.fanout import Fanout
from enactord.telemetry.lag import watch_lag
from enactord.telemetry.lines import stderr_writer
from enactord.telemetry.metrics import Metrics
from enactord.telemetry.registry import IsolatingRegistry
from enactord.telemetry.strays import strays_told

_FLUSH_LIMIT_S = 2.0
"""So long a stop waits for the last lines of the log; a reader that is stuck does not get them."""

FILES_AGAIN_S = 30.0


async def serve(config: Config, read: Callable[[], Config]) -> None:
    """Run an enactor until SIGTERM or SIGINT; SIGHUP reads the config anew by `read`.

    Raises `ConfigError` at the start; `SystemExit` for an error that no rule foresees, which then stands in the log.
    """
    # Its own lines, before anything can go wrong. A background job that writes to its terminal must not be stopped.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    log = LiveLog(config.log, stderr_writer(), enactor=config.enactor.id, scope=config.enactor.scope)
    try:
        with strays_told(log.tell):
            try:
                await _serve(config, read, log)
            except EnactordError:
                raise
            except Exception as error:
                log.tell("error", "failed", detail=repr(error), traceback=traceback.format_exc())
                raise SystemExit(1) from error
    finally:
        log.lines.close(_FLUSH_LIMIT_S)


async def _serve(config: Config, read: Callable[[], Config], log: LiveLog) -> None:
    tune_collector()
    loop = asyncio.get_running_loop()
    stop, reread = asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, reread.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    failures = Failures(lambda part, error: log.tell("error", "tell.failed", **_failure(part, error)))
    notifier = Notifier.of(failures=failures)
    registry = IsolatingRegistry(failures)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    metrics = Metrics(registry, [zone.name for zone in config.zones])
    feed = Feed(SystemClock().now, failures=failures)
    observer = Fanout({"log": log, "metrics": metrics, "feed": feed}, failures)
    _warn(log, config)
    async with AsyncExitStack() as stack:
        ports = await stack.enter_async_context(open_ports(config, observer))
        enactor = Enactor(config.settings, ports, random.Random())
        enactor.progress = loop.time()
        pages = Pages(enactor, metrics, registry, config.http, feed, failures=failures)
        live = Live(config, enactor, pages, await stack.enter_async_context(serve_http(config.http, pages)), log)
        files = FileWatch(live, observer)
        enactor.surroundings = lambda: [*live.reasons(), *log.troubles()]

        def before_scrape() -> None:
            metrics.refresh_told(log.lines.lost, failures.totals)
            metrics.tell_certificates({certificate.use: certificate.expires_at for certificate in live.certificates})

        pages.before_scrape = before_scrape
        metrics.config_refused.set_function(lambda: bool(live.refused or live.file_problems))
        log.logger.info(
            "started",
            version=__version__,
            http=[str(address) for address in config.http.listen],
            store=config.store.url,
        )
        running = asyncio.create_task(enactor.run(), name="enactor")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        beside = [
            asyncio.create_task(_follow_config(reread, read, live, files, log, notifier), name="config"),
            asyncio.create_task(_follow_files(files, log), name="files"),
            asyncio.create_task(
                end_expired(pages.scope, enactor.cache, enactor.settings.id, observer), name="overrides"
            ),
            asyncio.create_task(watch_lag(metrics.lag.observe, failures), name="lag"),
            asyncio.create_task(
                notifier.attend(lambda: loop.time() - enactor.progress <= STUCK_S, lambda: standing_line(enactor)),
                name="notify",
            ),
        ]
        notifier.ready()
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            notifier.stopping()
            for task in (running, stopping, *beside):
                task.cancel()
            await asyncio.gather(running, stopping, *beside, return_exceptions=True)
    log.logger.info("stopped")


async def _follow_config(
    asked: asyncio.Event,
    read: Callable[[], Config],
    live: Live,
    files: FileWatch,
    log: LiveLog,
    notifier: Notifier,
) -> None:
    """Read the config anew whenever it is asked for; one that cannot be taken up leaves all as it was.

    Where its text is the same and only a file that it names cannot be used, the other files are taken up.
    """
    while True:
        await asked.wait()
        asked.clear()
        notifier.reloading()
        try:
            keys = live.reload(await asyncio.to_thread(read))
        except ConfigError as error:
            same = await asyncio.to_thread(_same_text, live.config)
            live.refused = "" if same else error.problems[0]
            log.logger.error("config.refused", problems=list(error.problems))
            if same:
                await files.look(at_once=True)
        except Exception as error:
            live.refused = repr(error)
            log.logger.error("config.refused", problems=[traceback.format_exc()])
        else:
            live.refused = ""
            files.forget()
            _warn(log, live.config)
            log.logger.info("config.reloaded", keys=keys)
        notifier.ready()


def _failure(part: str, error: Exception) -> dict[str, str]:
    # A socket that is full or gone is the world's failure: only a bug needs to be traced.
    told = "" if isinstance(error, OSError) else "".join(traceback.format_exception(error))
    return {"part": part, "detail": repr(error), "traceback": told}


def _same_text(config: Config) -> bool:
    """Whether the config's file still says what it said when it was taken up."""
    try:
        return read_text(config.source.path) == config.source.text
    except ConfigError:
        return False


async def _follow_files(files: FileWatch, log: LiveLog) -> None:
    """Follow the files that the config names; a failure that nobody foresaw is told, and they are followed on."""
    while True:
        try:
            await files.run()
        except Exception:
            log.logger.error("files.failed", traceback=traceback.format_exc())
            await asyncio.sleep(FILES_AGAIN_S)


def _warn(log: LiveLog, config: Config) -> None:
    for warning in config.warnings:
        log.logger.warning("config.warning", detail=warning)


def standing_line(enactor: Enactor) -> str:
    """Return where an enactor stands, in one line for people."""
    cache = enactor.cache
    applied = min(cache.applied(zone) for zone in enactor.writers)
    troubles = enactor.reasons()
    where = f"plan {applied} applied, newest {cache.head}, {cache.ledger.totals.owned} endpoints"
    return f"{where}; degraded: {'; '.join(troubles)}" if troubles else where
