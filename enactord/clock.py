"""The machine's time of day."""

import time


class SystemClock:
    """Implements `Clock`."""

    def now(self) -> float:
        return time.time()
