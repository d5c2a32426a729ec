"""A token bucket: how often an account may be asked."""

import asyncio


class TokenBucket:
    """Tokens come at `rate_per_s`, up to `burst`; who finds none waits in order of coming."""

    def __init__(self, *, rate_per_s: float, burst: float) -> None:
        assert rate_per_s > 0
        assert burst >= 1
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at: float | None = None

    async def take(self, *, wait_max_s: float) -> bool:
        """Take a token, at once or after waiting; False, and none is taken, where that would last too long."""
        self._fill()
        wait_s = (1 - self._tokens) / self._rate_per_s
        if wait_s > wait_max_s:
            return False
        self._tokens -= 1  # owed, where it is below 0: those who come later wait for theirs after this one
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        return True

    def drain(self) -> None:
        """Let nobody pass at once: the account was told that it asks too often."""
        self._fill()
        self._tokens = min(self._tokens, 0.0)

    def _fill(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate_per_s)
        self._at = now
