"""How often a client may ask over HTTP: without a token, with a wrong token, and with a right one."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from enactord.http.limits import BURST_S, WRONG_TOKEN_COST, rated
from enactord.http.problems import Problem
from tests.daily import daily

pytestmark = pytest.mark.real_time

STALE = {"Authorization": "Bearer stale"}
RIGHT = {"Authorization": "Bearer right"}


def _right(request: web.Request) -> bool:
    return request.headers.get("Authorization") == RIGHT["Authorization"]


class Site:
    """A page behind the limit, asked from one address by a clock of the test."""

    def __init__(self, per_s: float) -> None:
        self.now = 1000.0
        self._limit = rated(per_s, lambda: self.now, _right)

    async def ask(self, headers: dict[str, str] | None = None) -> int:
        async def page(request: web.Request) -> web.StreamResponse:
            return web.Response()

        request = make_mocked_request("GET", "/api/v1/status", headers=headers).clone(remote="192.0.2.1")
        try:
            return int((await self._limit(request, page)).status)
        except Problem as problem:
            return int(problem.status)


@pytest.mark.parametrize("per_s", daily([1.0, 10.0, 40.0, 50.0, 200.0], {10.0, 200.0}))
async def test_an_old_token_that_is_tried_for_ever_shuts_nobody_else_out(per_s: float) -> None:
    """A forgotten program asks once a second; people behind the same address read without a token."""
    site = Site(per_s)
    for _ in range(300):
        await site.ask(STALE)
        assert await site.ask() == 200
        assert await site.ask(RIGHT) == 200
        site.now += 1


@pytest.mark.parametrize("per_s", [1.0, 200.0])
async def test_wrong_tokens_are_answered_rarely_and_again_after_a_while(per_s: float) -> None:
    site = Site(per_s)
    burst = max(1, int(per_s * BURST_S / WRONG_TOKEN_COST))
    answers = [await site.ask(STALE) for _ in range(1000)]
    assert answers == [200] * burst + [429] * (1000 - burst)
    site.now += WRONG_TOKEN_COST / per_s + 0.001
    assert [await site.ask(STALE) for _ in range(2)] == [200, 429]


async def test_a_client_without_a_token_has_its_rate_and_a_burst() -> None:
    site = Site(10.0)
    assert [await site.ask() for _ in range(25)] == [200] * 20 + [429] * 5
    site.now += 1.001
    assert [await site.ask() for _ in range(12)] == [200] * 10 + [429] * 2
    assert [await site.ask(RIGHT) for _ in range(100)] == [200] * 100
