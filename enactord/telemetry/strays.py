"""What libraries say by themselves, as events of ours: the standard log, warnings, and raw lines on stdout and stderr.

Some libraries write to the descriptors and know of no logger (gRPC's core, c-ares). So the descriptors lead into a
pipe here, and a thread makes an event of each line. The pipe's end that they write to never blocks.
"""

import fcntl
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

Tell = Callable[..., None]
"""Called with the level ("warning" or "error"), the event's id, and its facts as keywords."""

_LINE_BYTES_MAX = 8192
_STOP_LIMIT_S = 1.0


class _Handler(logging.Handler):
    """Passes on records of the standard log; a record that cannot be formatted is told as such."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        try:
            facts: dict[str, Any] = {"library": record.name, "detail": record.getMessage()}
            if record.exc_info:
                facts["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        except Exception as error:
            facts = {"library": record.name, "detail": f"{record.msg!r} with arguments that do not fit it: {error!r}"}
        with suppress(Exception):  # whoever logs must not fail because of the log
            self._tell("error" if record.levelno >= logging.ERROR else "warning", "library.said", **facts)


class _Pipe:
    """Reads what is written to some descriptors, while it lasts."""

    def __init__(self, descriptors: tuple[int, ...], tell: Tell) -> None:
        self._tell = tell
        self._before = {descriptor: os.dup(descriptor) for descriptor in descriptors}
        self._reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETFL, fcntl.fcntl(writing, fcntl.F_GETFL) | os.O_NONBLOCK)
        for descriptor in descriptors:
            os.dup2(writing, descriptor)
        os.close(writing)
        self._thread = threading.Thread(target=self._run, name="strays", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Lead the descriptors back to where they led; what is in the pipe is still told."""
        for descriptor, before in self._before.items():
            os.dup2(before, descriptor)
            os.close(before)
        self._thread.join(_STOP_LIMIT_S)

    def _run(self) -> None:
        rest = b""
        while read := os.read(self._reading, 65_536):
            *lines, rest = (rest + read).split(b"\n")
            if len(rest) > _LINE_BYTES_MAX:
                lines.append(rest)
                rest = b""
            for line in lines:
                self._say(line)
        self._say(rest)
        os.close(self._reading)

    def _say(self, line: bytes) -> None:
        text = line[:_LINE_BYTES_MAX].decode("utf-8", "backslashreplace").rstrip()
        if text:
            with suppress(Exception):  # the next line may be a better one
                self._tell("warning", "library.said", library="stderr", detail=text)


@contextmanager
def strays_told(tell: Tell) -> Iterator[None]:
    """Tell what libraries say as events, while the context lasts. For a whole process: it turns descriptors 1 and 2."""
    root = logging.getLogger()
    before, raising = root.handlers[:], logging.raiseExceptions
    thread_hook, lost_hook = threading.excepthook, sys.unraisablehook

    def of_thread(args: threading.ExceptHookArgs) -> None:
        where = args.thread.name if args.thread else "a thread"
        _tell_error(tell, where, args.exc_value, args.exc_traceback)

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        _tell_error(tell, args.err_msg or "an error that nobody could be given", args.exc_value, args.exc_traceback)

    pipe: _Pipe | None = None
    with suppress(OSError, RuntimeError):  # no descriptors or threads are left: raw lines stay raw
        pipe = _Pipe((1, 2), tell)
    root.handlers[:] = [_Handler(tell)]
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    threading.excepthook, sys.unraisablehook = of_thread, unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = thread_hook, lost_hook
        logging.captureWarnings(False)
        logging.raiseExceptions = raising
        root.handlers[:] = before
        if pipe is not None:
            pipe.close()


def _tell_error(tell: Tell, where: str, error: BaseException | None, frames: TracebackType | None) -> None:
    with suppress(Exception):  # called where nothing may be raised
        text = "".join(traceback.format_exception(type(error), error, frames)) if error is not None else ""
        tell("error", "library.failed", where=where, detail=repr(error), traceback=text)
