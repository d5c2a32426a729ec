"""An enactor whose clock is ten minutes ahead: `python -m tests.alerts.ahead run --config FILE`.

The machine's clock cannot be set for one process alone, so the clock that is wired in is another one.
"""

import time

from enactord.cli.daemon import main
from enactord.daemon import wiring

AHEAD_S = 600.0


class ClockAhead:
    """Implements `Clock`."""

    def now(self) -> float:
        return time.time() + AHEAD_S


if __name__ == "__main__":
    wiring.SystemClock = ClockAhead  # type: ignore[attr-defined, assignment]
    main()
