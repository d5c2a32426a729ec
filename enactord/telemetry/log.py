"""The log: one structlog line an event; JSON off a terminal."""

import dataclasses
import logging
import sys
from typing import Any, TextIO

import structlog

from enactord.core.events import BatchCommitted, Happening, Retried, Verified, WriteFinished

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_QUIET = (WriteFinished, Verified, Retried)
"""Counted as metrics; logged at debug only, since they come with every message or round."""


def make_logger(
    level: str, format_: str, stream: TextIO = sys.stderr, **bound: Any
) -> structlog.typing.FilteringBoundLogger:
    """Return a logger that writes to a stream. `format_` is "json", "console" or "" (by the stream)."""
    console = format_ == "console" or (not format_ and stream.isatty())
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    if console:
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty()))
    else:
        processors.append(structlog.processors.JSONRenderer(sort_keys=False))
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    ).bind(**bound)
    return logger


class LogObserver:
    """Writes a line for each event, named by its stable id."""

    def __init__(self, logger: structlog.typing.FilteringBoundLogger) -> None:
        self._logger = logger

    def observe(self, happening: Happening) -> None:
        values = {f.name: getattr(happening, f.name) for f in dataclasses.fields(happening)}
        if isinstance(happening, BatchCommitted):
            latencies = values.pop("apply_s")
            if latencies:
                values["apply_max_s"] = round(max(latencies), 6)
        for name, value in values.items():
            if isinstance(value, float):
                values[name] = round(value, 6)
            elif dataclasses.is_dataclass(value) and not isinstance(value, type):
                values[name] = dataclasses.asdict(value)
        level = "debug" if isinstance(happening, _QUIET) else happening.severity
        getattr(self._logger, level)(happening.id, **values)
