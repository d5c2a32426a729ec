"""What libraries say on their own becomes events of ours. Each case is a process: descriptors are a process's."""

import json
import subprocess
import sys
from typing import Any

PROGRAM = """
import logging, os, sys, threading, warnings
from enactord.telemetry.lines import stderr_writer
from enactord.telemetry.log import make_logger
from enactord.telemetry.strays import strays_told

lines = stderr_writer()
logger = make_logger("info", "json", lines)
with strays_told(lambda level, event, /, **facts: getattr(logger, level)(event, **facts)):
    {what}
logger.info("after")
lines.close(20)
os.write(2, b"raw again\\n")
"""


def said_by(what: str) -> list[dict[str, Any]]:
    """Run some statements while strays are told; returns the events before "after", each line of them a document."""
    program = PROGRAM.format(what="\n    ".join(what.strip().splitlines()))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    *documents, last = done.stderr.splitlines()
    assert last == "raw again", "descriptors lead back to where they led"
    events = [json.loads(line) for line in documents]
    assert events[-1]["event"] == "after"
    return events[:-1]


def test_the_standard_log_comes_with_its_logger_and_traceback() -> None:
    """Warnings and errors of any library; what is less is no news. A message that does not fit is told as such."""
    events = said_by(
        """
logging.getLogger("lib.part").info("nothing")
logging.getLogger("lib.part").warning("inotify %s", "ran out")
try: 1 / 0
except ZeroDivisionError: logging.getLogger("lib").exception("it failed")
logging.getLogger("lib").error("%d", "no number")
"""
    )
    assert [(event["event"], event["level"], event["library"]) for event in events] == [
        ("library.said", "warning", "lib.part"),
        ("library.said", "error", "lib"),
        ("library.said", "error", "lib"),
    ]
    assert events[0]["detail"] == "inotify ran out"
    assert "ZeroDivisionError" in events[1]["traceback"]
    assert "'%d' with arguments that do not fit it" in events[2]["detail"]


def test_warnings_and_errors_that_nobody_catches_are_events() -> None:
    """Of a thread, of an object that is let go: the interpreter would print them as they are."""
    events = said_by(
        """
warnings.warn("old way")
thread = threading.Thread(target=lambda: 1 / 0, name="worker"); thread.start(); thread.join()
class Leaving:
    def __del__(self): raise RuntimeError("left")

Leaving()
"""
    )
    assert [event["event"] for event in events] == ["library.said", "library.failed", "library.failed"]
    assert "old way" in events[0]["detail"]
    assert events[1]["where"] == "worker"
    assert "RuntimeError: left" in events[2]["traceback"]


def test_raw_lines_on_both_descriptors_are_events() -> None:
    """As libraries in C write them; also one without an end, one without a limit, and bytes that are no text."""
    events = said_by(
        r"""
os.write(2, b"E0000 inotify failed\n\x1b[2Jcleared\n\xff\n")
os.write(1, b"on stdout\n")
print("from python", file=sys.stderr, flush=True)
os.write(2, b"x" * 20_000 + b"\n")
os.write(2, b"no end")
"""
    )
    assert {event["library"] for event in events} == {"stderr"}
    details = [event["detail"] for event in events]
    assert details[:4] == ["E0000 inotify failed", "\x1b[2Jcleared", r"\xff", "on stdout"]
    assert details[4] == "from python"
    assert len("".join(details[5:-1])) <= 20_000
    assert details[-1].endswith("no end")


def test_a_library_that_writes_faster_than_it_is_read_is_not_held_up() -> None:
    """It holds the interpreter while it writes: were the pipe to block, nothing would ever run again."""
    events = said_by(
        """
import ctypes
data = (b"y" * 999 + b"\\n") * 1000
ctypes.PyDLL(None).write(2, data, len(data))
"""
    )
    assert 0 < len(events) < 1000
