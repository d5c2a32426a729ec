"""What systemd is told: ready, reloading, stopping, a line of status, and a watchdog fed by real progress.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping

from enactord.core.visible import visible
from enactord.telemetry.failures import Failures

_STATUS_S = 5.0
"""How often the status line is looked at where no watchdog asks for more."""
_SHARE = 3
"""Beats of the watchdog within its time: two may come late."""
_STATUS_CHARACTERS_MAX = 500


class Notifier:
    """The way to the service manager. Where none listens, it says nothing."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0, *, failures: Failures | None = None) -> None:
        """`address` is a path, or with a leading "@" an abstract name; `watchdog_s` 0 is no watchdog.

        `failures` counts what cannot be told.
        """
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s
        self._status = ""
        self._owed: tuple[str, ...] = ()
        """The newest notice that must arrive (ready, stopping) and has not."""
        self._failures = failures or Failures()

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ, *, failures: Failures | None = None) -> "Notifier":
        """Return what the service manager put into the environment; a watchdog for another process is not ours."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            address = ""
        microseconds = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        watchdog_s = int(microseconds) / 1e6 if microseconds.isdecimal() and ours else 0.0
        return cls(address, watchdog_s, failures=failures)

    def ready(self) -> None:
        """Say that we serve: after the start, and after a reload."""
        self._owe("READY=1")

    def reloading(self) -> None:
        """Say that the config is read again; `ready` must follow."""
        # The time is what later versions require to tell this reload from another.
        self._owe("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that we are about to end."""
        self._owe("STOPPING=1")

    def status(self, text: str) -> None:
        """Show a line in `systemctl status`; the same line is sent once."""
        line = visible(" ".join(text.split()))[:_STATUS_CHARACTERS_MAX]
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    async def attend(self, alive: Callable[[], bool], standing: Callable[[], str]) -> None:
        """Until cancelled: keep the status current, and feed the watchdog, but only while `alive()`."""
        if not self._address:
            return
        pause_s = min(_STATUS_S, self.watchdog_s / _SHARE) if self.watchdog_s else _STATUS_S
        while True:
            # Each apart: a status line that cannot be made must not starve the watchdog, which would kill the process.
            if self._owed:
                self._owe(*self._owed)
            with self._failures.caught("notify"):
                if self.watchdog_s and alive():
                    self._send("WATCHDOG=1")
            with self._failures.caught("notify"):
                self.status(standing())
            await asyncio.sleep(pause_s)

    def _owe(self, *lines: str) -> None:
        """Send a notice that must arrive: a socket that is full now gets it at a later beat."""
        self._owed = () if self._send(*lines) else lines

    def _send(self, *lines: str) -> bool:
        """Send a notice if that can be done at once; returns whether it was."""
        if not self._address:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)  # a manager that does not read must not hold up the enactor
                channel.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:  # the manager is away or busy; a later beat tells it
            self._failures.note("notify", error)
            return False
        return True
