"""How far this machine's clock is from those of the store and of the DNS servers.

No answer in DNS depends on a clock. A server refuses signatures that are more than 300 s off (BADTIME), and the
guards' window and the times that people read are judged by clocks.
"""

import asyncio
from collections.abc import Sequence

from enactord.client.http_date import ask_clock
from enactord.config.tables import Config
from enactord.core.errors import StoreDown
from enactord.doctor.check import Check, Group, State
from enactord.ports import Clock

OFFSET_MAX_S = 5.0
_TOLD_TO_S = 1.0
"""Both kinds of clock are told to the second, rounded down."""
_FIX = "chronyc makestep on the machine whose clock is wrong; then look with: timedatectl timesync-status"


def judge_clock(subject: str, theirs_s: float | None, ours_s: float) -> Check:
    """Judge one clock by what it told at a moment of ours; None: it does not tell."""
    if theirs_s is None:
        seen = "it does not tell its time"
        return Check(
            group=Group.CLOCK, subject=subject, state=State.UNKNOWN, seen=seen, fix="compare: date -u, on both"
        )
    ahead_s = theirs_s - ours_s
    off_s = max(0.0, abs(ahead_s + _TOLD_TO_S / 2) - _TOLD_TO_S / 2)
    seen = f"it is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's clock"
    if off_s > OFFSET_MAX_S:
        return Check(group=Group.CLOCK, subject=subject, state=State.FAULT, seen=seen, fix=_FIX)
    return Check(group=Group.CLOCK, subject=subject, state=State.OK, seen="within a second" if off_s < 1 else seen)


async def check_store_clock(config: Config, clock: Clock) -> Sequence[Check]:
    """Compare with the clock of each etcd that answers; the store in SQLite has that of this machine."""
    if not config.store.url.startswith("etcd://"):
        return []
    endpoints = config.store.url.removeprefix("etcd://").rstrip("/").split(",")

    async def one(endpoint: str) -> Sequence[Check]:
        try:
            theirs_s = await ask_clock(endpoint, config.store.access.tls, config.store.timeout_s)
        except StoreDown:
            return []  # which the checks of the store tell
        return [judge_clock(f"etcd {endpoint}", theirs_s, clock.now())]

    found = await asyncio.gather(*(one(endpoint) for endpoint in endpoints))
    return [check for checks in found for check in checks]
