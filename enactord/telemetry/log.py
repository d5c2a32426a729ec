"""The log: one structlog line an event; JSON off a terminal. To write a line neither fails nor waits."""

import dataclasses
import logging
import sys
from typing import Any, Protocol

import structlog

from enactord.core.events import Event, Retried, SliceCommitted, Verified, WriteFinished
from enactord.core.visible import json_text, plain, visible

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_QUIET = (WriteFinished, Verified, Retried)
"""Counted as metrics; logged at debug only, since they come with every message or round."""
_LINE_CHARACTERS_MAX = 32_768
"""Docker cuts lines at 16 KiB and journald at 48 KiB, in the middle of a document."""
_CUTS = ((16_384, 100), (2_000, 20), (200, 5), (40, 3))
"""Longest text and most entries of a collection: the first that makes the line short enough is taken."""
_MULTILINE = "traceback"
"""On a console it keeps its line ends, and stands below its line."""


class Lines(Protocol):
    """What takes the lines, each with its end."""

    def write(self, line: str, /) -> Any: ...

    def isatty(self) -> bool: ...


class _Printer:
    """What structlog calls with each line that is ready."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def msg(self, line: str) -> None:
        self._lines.write(line + "\n")

    debug = info = warning = error = critical = msg


def make_logger(
    level: str, format_: str, lines: Lines | None = None, **bound: Any
) -> structlog.typing.FilteringBoundLogger:
    """Return a logger of lines (None: to stderr). `format_` is "json", "console" or "" (by where the lines go)."""
    lines = lines or sys.stderr
    console = format_ == "console" or (not format_ and lines.isatty())
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        _Printer(lines),
        processors=[_Renderer(structlog.dev.ConsoleRenderer(colors=lines.isatty()) if console else None)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    ).bind(**bound)
    return logger


class _Renderer:
    """Makes a line of whatever comes: safe to show, of bounded length, and in JSON always one document."""

    def __init__(self, console: structlog.typing.Processor | None) -> None:
        self._console = console
        self._stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")

    def __call__(self, logger: Any, method: str, event: structlog.typing.EventDict) -> str:
        event = self._stamp(logger, method, structlog.processors.add_log_level(logger, method, event))
        if self._console is not None:
            return self._on_console(self._console, logger, method, event)
        try:
            line = json_text(event, ascii_only=True)
            if len(line) <= _LINE_CHARACTERS_MAX:
                return line
        except Exception:
            pass  # a value that JSON has no form for: the cuts below give it one
        for longest, entries in _CUTS:
            line = json_text(plain(event, longest, entries), ascii_only=True)
            if len(line) <= _LINE_CHARACTERS_MAX:
                break
        return line

    def _on_console(
        self, render: structlog.typing.Processor, logger: Any, method: str, event: structlog.typing.EventDict
    ) -> str:
        longest, entries = _CUTS[0]
        below = event.pop(_MULTILINE, "")
        shown = {visible(str(key)): plain(value, longest, entries, shown=visible) for key, value in event.items()}
        try:
            line = str(render(logger, method, shown))
            return f"{line}\n{visible(str(below)[-longest:], lines=True).rstrip()}" if below else line
        except Exception as error:
            return f"{shown.get('event')} (the console's form failed: {visible(repr(error))})"


class LogObserver:
    """Writes a line for each event, named by its stable id."""

    def __init__(self, logger: structlog.typing.FilteringBoundLogger) -> None:
        self._logger = logger

    def observe(self, event: Event) -> None:
        values = {f.name: getattr(event, f.name) for f in dataclasses.fields(event)}
        if isinstance(event, SliceCommitted):
            latencies = values.pop("apply_s")
            if latencies:
                values["apply_max_s"] = round(max(latencies), 6)
        for name, value in values.items():
            if isinstance(value, float):
                values[name] = round(value, 6)
            elif dataclasses.is_dataclass(value) and not isinstance(value, type):
                values[name] = dataclasses.asdict(value)
        level = "debug" if isinstance(event, _QUIET) else event.severity
        getattr(self._logger, level)(event.id, **values)
