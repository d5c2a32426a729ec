"""HTTP of an enactor: liveness, readiness, metrics, status, and writing with a token."""

import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from enactord.daemon.config import HttpConfig
from enactord.daemon.http import Pages
from enactord.telemetry.metrics import Metrics
from tests.world import ZONE, Member, World, fleet, plan

TOKEN = {"Authorization": "Bearer right"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def client_of(member: Member, token: bytes = b"right", *, hosts: Sequence[str] = ()) -> TestClient[Any, Any]:
    registry = CollectorRegistry()
    config = HttpConfig(token=token, hosts=tuple(hosts))
    pages = Pages(member.enactor, Metrics(registry, [ZONE]), registry, config)
    client: TestClient[Any, Any] = TestClient(TestServer(pages.application()))
    await client.start_server()
    return client


async def test_an_enactor_tells_how_it_is(world: World) -> None:
    """Alive and ready; its generations in status and in metrics."""
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    await world.until(lambda: not member.enactor.reasons())
    client = await client_of(member)
    assert (await (await client.get("/healthz")).json()) == {"status": "ok"}
    assert (await (await client.get("/readyz")).json()) == {"status": "ready", "reasons": [], "notes": []}
    status = await (await client.get("/api/v1/status")).json()
    assert status["head"] == 1
    assert status["zones"][0]["applied"] == 1
    text = await (await client.get("/metrics")).text()
    assert 'enactord_generation{kind="head",zone=""} 1.0' in text
    await client.close()


async def test_a_store_that_is_away_degrades_but_does_not_unready(world: World) -> None:
    """A probe must never kill an enactor because a dependency is away."""
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    client = await client_of(member)
    member.store.cut()
    await world.until(lambda: not member.enactor.store_up)
    answer = await client.get("/readyz")
    found = await answer.json()
    assert answer.status == 200
    assert found["status"] == "degraded"
    assert "store" in found["reasons"][0]
    assert (await client.get("/healthz")).status == 200
    await client.close()


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/api/v1/freeze", 405)])
async def test_errors_are_problem_documents(world: World, path: str, status: int) -> None:
    """RFC 9457."""
    client = await client_of(await world.add("a"))
    answer = await client.get(path)
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    assert (await answer.json())["status"] == status
    await client.close()


@pytest.mark.parametrize(
    ("token", "headers", "status"),
    [(b"", TOKEN, 403), (b"right", {}, 401), (b"right", {"Authorization": "Bearer wrong"}, 401)],
)
async def test_nothing_is_written_without_the_token(
    world: World, token: bytes, headers: dict[str, str], status: int
) -> None:
    """Off without a token file; refused without the right token."""
    client = await client_of(await world.add("a"), token)
    for path in ("plans", "freeze", "thaw", "rollback"):
        answer = await client.post(f"/api/v1/{path}", headers=headers, data="{}")
        assert answer.status == status, path
    assert (await world.view()).head == 0
    await client.close()


async def test_the_right_token_passes_beside_any_number_of_wrong_ones(world: World) -> None:
    """Whoever tries tokens is slowed with its address; a planner at the same address goes on."""
    client = await client_of(await world.add("a"))
    answers = [
        (await client.post("/api/v1/thaw", headers={"Authorization": "Bearer wrong"}, data="{}")).status
        for _ in range(40)
    ]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert (await client.get("/api/v1/status")).status == 429
    assert (await client.get("/readyz")).status == 200
    for generation in range(1, 6):
        answer = await client.post("/api/v1/plans", headers=TOKEN, json=plan(fleet(5, generation)))
        assert (answer.status, (await answer.json())["generation"]) == (201, generation)
    assert (await client.post("/api/v1/thaw", headers={"Authorization": "Basic right"})).status in (401, 429)
    await client.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("evil.example:8451", 421),
        ("127.0.0.1.evil.example", 421),
        ("status.example.com:8451", 200),
        ("STATUS.example.com.", 200),
        ("localhost:8451", 200),
        (socket.gethostname(), 200),
        ("192.0.2.7", 200),
        ("[2001:db8::1]:8451", 200),
        ("[::1]", 200),
    ],
)
async def test_a_foreign_name_is_not_served(world: World, host: str, status: int) -> None:
    """It may be a page elsewhere whose name leads here. Probes and whoever has the token are served all the same."""
    client = await client_of(await world.add("a"), hosts=("status.example.com",))
    headers = {"Host": host}
    for path in ("/", "/api/v1/status"):
        answer = await client.get(path, headers=headers)
        assert answer.status == status, path
    if status == 421:
        assert "add it to http.hosts" in (await answer.json())["detail"]
    assert (await client.get("/readyz", headers=headers)).status == 200
    assert (await client.post("/api/v1/thaw", headers=headers | TOKEN)).status == 200
    await client.close()


async def test_a_plan_is_published_rolled_back_and_frozen(world: World) -> None:
    """The same operations as the command line's, with the same refusals."""
    client = await client_of(await world.add("a"))
    answer = await client.post("/api/v1/plans", headers=TOKEN, json=plan(fleet(10, 1)))
    assert (answer.status, (await answer.json())["generation"]) == (201, 1)
    await world.applied(1)
    shrunk = await client.post("/api/v1/plans", headers=TOKEN, json=plan(fleet(2, 1)))
    assert shrunk.status == 422
    assert "endpoints_removed" in (await shrunk.json())["detail"]
    junk = await client.post("/api/v1/plans", headers=TOKEN | JSON, data=b"not json")
    assert junk.status == 422
    await client.post("/api/v1/plans", headers=TOKEN, json=plan(fleet(10, 2)))
    await world.applied(2)
    back = await client.post("/api/v1/rollback", headers=TOKEN, json={"generation": 1, "reason": "bad"})
    assert (back.status, (await back.json())["generation"]) == (201, 3)
    await world.applied(3)
    assert world.serves(fleet(10, 1))
    assert (await client.post("/api/v1/freeze", headers=TOKEN, json={})).status == 400
    frozen = await client.post("/api/v1/freeze", headers=TOKEN, json={"reason": "drill"})
    assert (await frozen.json())["frozen"]["mode"] == "all"
    assert (await client.post("/api/v1/thaw", headers=TOKEN)).status == 200
    assert (await world.view()).freeze is None
    await client.close()
