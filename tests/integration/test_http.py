"""HTTP of an enactor: liveness, readiness, metrics, status, and writing with a token."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import encode_basic_auth
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from enactord.config.tables import HttpConfig
from enactord.core.tokens import Tokens
from enactord.http.app import Pages
from enactord.telemetry.metrics import Metrics
from tests.tokens import bearer, secret_of, tokens
from tests.world import ZONE, Member, World, fleet, plan

TOKEN = bearer("alice")
NOBODY = {"Authorization": "Bearer wrong"}
JSON = {"Content-Type": "application/json"}


TOKENS = tokens(alice="operator", planner_1="planner", viewer_1="viewer")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def client_of(member: Member, given: Tokens = TOKENS, **settings: Any) -> TestClient[Any, Any]:
    registry = CollectorRegistry()
    config = HttpConfig(tokens=given, **settings)
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
    ready = await (await client.get("/readyz")).json()
    assert ready == {"status": "ready", "process": member.enactor.session.process, "reasons": [], "notes": []}
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
    ("given", "headers", "status"),
    [
        (Tokens(), TOKEN, 403),
        (TOKENS, {}, 401),
        (TOKENS, NOBODY, 401),
        (TOKENS, bearer("bob"), 401),
        (TOKENS, bearer("viewer_1"), 403),
    ],
)
async def test_nothing_is_written_without_a_token_that_may(
    world: World, given: Tokens, headers: dict[str, str], status: int
) -> None:
    """Off without tokens; refused without a token that is known, and to one that may only read."""
    client = await client_of(await world.add("a"), given)
    for path in ("plans", "freeze", "thaw", "rollback"):
        answer = await client.post(f"/api/v1/{path}", headers=headers, data="{}")
        assert answer.status == status, path
        if status == 403:
            role = "planner" if path == "plans" else "operator"
            assert f"enactorctl token create NAME --role {role}" in (await answer.json())["detail"]
        if status == 401:
            told = "this token is not known here" if "Authorization" in headers else "give a token: Authorization"
            assert told in (await answer.json())["detail"]
    assert (await world.view()).head == 0
    await client.close()


async def test_a_planner_publishes_as_itself_and_does_no_more(world: World) -> None:
    """Its token thaws no operator's freeze, rolls nothing back, and signs in no other name."""
    client = await client_of(await world.add("a"))
    planner = bearer("planner_1")
    published = await client.post("/api/v1/plans", headers=planner, json=plan(fleet(5, 1), author="alice"))
    assert published.status == 201
    assert "the author is planner_1" in (await published.json())["warnings"][0]
    await client.post("/api/v1/plans", headers=planner, json=plan(fleet(5, 2)))
    await world.applied(2)
    assert {plan["author"] for plan in (await (await client.get("/api/v1/plans")).json())["plans"]} == {"planner_1"}
    await client.post("/api/v1/freeze", headers=TOKEN, json={"reason": "INC"})
    orders: dict[str, dict[str, Any]] = {
        "thaw": {},
        "freeze": {"mode": "repair-only", "reason": "mine"},
        "rollback": {"generation": 1, "reason": "mine"},
        "planners/default/pause": {"reason": "mine"},
        "planners/default/resume": {},
    }
    for path, order in orders.items():
        answer = await client.post(f"/api/v1/{path}", headers=planner, json=order)
        assert answer.status == 403, path
        found = await answer.json()
        assert (found["role"], found["needed"]) == ("planner", "operator")
        assert "enactorctl token create NAME --role operator" in found["detail"]
    view = await world.view()
    assert view.freeze is not None
    assert (view.freeze.author, view.freeze.mode, view.head) == ("alice", "all", 2)
    await client.close()


async def test_no_order_is_given_in_another_name(world: World) -> None:
    """What is recorded is the token's name; saying so is allowed, saying otherwise is refused."""
    client = await client_of(await world.add("a"))
    order = {"reason": "drill"}
    refused = await client.post("/api/v1/freeze", headers=TOKEN, json=order | {"author": "bob"})
    assert refused.status == 403
    assert (await world.view()).freeze is None
    for author in ({}, {"author": "alice"}):
        frozen = await client.post("/api/v1/freeze", headers=TOKEN, json=order | author)
        assert (await frozen.json())["frozen"]["author"] == "alice"
    await client.close()


async def test_reading_needs_a_token_where_the_config_says_so(world: World) -> None:
    """Of any role; a probe goes on without one, and is told no more than the status."""
    member = await world.add("a")
    open_to_all = await client_of(member)
    assert (await open_to_all.get("/api/v1/status")).status == 200
    await open_to_all.close()
    member.store.cut()
    await world.until(lambda: member.enactor.reasons() != [])
    client = await client_of(member, read_needs_token=True)
    pages = ("/", "/metrics", *(f"/api/v1/{page}" for page in ("status", "plans", "endpoints", "openapi.json")))
    for path in (*pages, "/api/v1/events", "/nowhere"):
        for headers in ({}, NOBODY):
            answer = await client.get(path, headers=headers)
            assert answer.status == 401, path
    for path in pages:
        for name in ("viewer_1", "planner_1", "alice"):
            assert (await client.get(path, headers=bearer(name))).status == 200, path
    assert (await client.get("/healthz")).status == 200
    told = await (await client.get("/readyz")).json()
    assert (told["status"], told["reasons"]) == ("degraded", [])
    assert "store" in (await (await client.get("/readyz", headers=bearer("viewer_1"))).json())["reasons"][0]
    await client.close()


async def test_a_browser_may_give_the_token_as_a_password_for_reading_alone(world: World) -> None:
    """It sends that by itself, also where a foreign page makes it ask: so it writes nothing."""
    client = await client_of(await world.add("a"), read_needs_token=True)
    asked = await client.get("/")
    assert asked.status == 401
    assert asked.headers["WWW-Authenticate"].startswith("Basic ")
    right = {"Authorization": encode_basic_auth("alice", secret_of("alice"))}
    assert (await client.get("/", headers=right)).status == 200
    assert (await client.get("/api/v1/status", headers=right)).status == 200
    wrong_name = {"Authorization": encode_basic_auth("bob", secret_of("alice"))}
    for headers in (wrong_name, {"Authorization": "Basic ????"}, {"Authorization": "Basic"}):
        assert (await client.get("/", headers=headers)).status == 401
    assert (await client.post("/api/v1/freeze", headers=right, json={"reason": "x"})).status == 401
    assert (await world.view()).freeze is None
    await client.close()


async def test_the_right_token_passes_beside_any_number_of_wrong_ones(world: World) -> None:
    """Whoever tries tokens is slowed; a planner, and readers without a token, at the same address go on."""
    client = await client_of(await world.add("a"))
    answers = [(await client.post("/api/v1/thaw", headers=NOBODY, data="{}")).status for _ in range(40)]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert (await client.get("/api/v1/status")).status == 200
    assert (await client.get("/readyz")).status == 200
    for generation in range(1, 6):
        answer = await client.post("/api/v1/plans", headers=TOKEN, json=plan(fleet(5, generation)))
        assert (answer.status, (await answer.json())["generation"]) == (201, generation)
    assert (
        await client.post("/api/v1/thaw", headers={"Authorization": encode_basic_auth("alice", secret_of("alice"))})
    ).status in (401, 429)
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


async def test_what_guards_refuse_is_listed_shown_and_approved(world: World) -> None:
    """By an operator alone; the answer to the planner says under which digest it is kept."""
    client = await client_of(await world.add("e1"))
    async with client:
        await world.publish(plan(fleet(10)))
        await world.applied(1)
        answer = await client.post("/api/v1/plans", json=plan(fleet(4)), headers=bearer("planner_1"))
        assert answer.status == 422
        digest = (await answer.json())["kept"]
        await world.until(lambda: world.members["e1"].enactor.cache.contributions)
        listed = (await (await client.get("/api/v1/refused")).json())["refused"]
        assert [(kept["digest"], kept["author"]) for kept in listed] == [(digest, "planner_1")]
        assert any(digest[:16] in note for note in (await (await client.get("/readyz")).json())["notes"])
        diff = await (await client.get(f"/api/v1/refused/{digest[:16]}/diff?limit=2")).json()
        assert (diff["counts"], len(diff["removed"])) == ({"added": 0, "removed": 6, "changed": 0}, 2)
        path = f"/api/v1/refused/{digest}/approve"
        assert (await client.post(path, json={"reason": "-"}, headers=bearer("planner_1"))).status == 403
        assert (await client.post(path, json={}, headers=bearer("alice"))).status == 400
        assert (await client.post(path, json={"reason": "closed"}, headers=bearer("alice"))).status == 201
        await world.applied(2)
        assert not (await (await client.get("/api/v1/refused")).json())["refused"]
        assert (await client.get(f"/api/v1/refused/{digest}/diff")).status == 404
        assert (await client.post(path, json={"reason": "closed"}, headers=bearer("alice"))).status == 422
        assert (await client.get("/api/v1/refused/nonsense/diff")).status == 404


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
