"""The OpenAPI document says what the server does: requests made from it are answered as it promises."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http.site import TOKEN, Site, serving
from tests.world import ZONE, World, fleet, plan

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))
PROMISED = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/v1/status",
    "/api/v1/plans",
    "/api/v1/plans/1",
    "/api/v1/plans/1/content",
    "/api/v1/plans/1/changes",
    "/api/v1/limits",
    "/api/v1/planners",
    "/api/v1/endpoints",
    f"/api/v1/endpoints/n00001.{ZONE}",
    "/api/v1/audit",
    "/api/v1/openapi.json",
]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    world = World()
    member = await world.add("a")
    await world.publish(plan(fleet(20, 1)))
    await world.publish(plan(fleet(20, 2)))
    await world.applied(2)
    async with serving(member, requests_per_s=1e6) as served:
        yield served
    await world.close()


async def test_every_page_that_is_promised_is_there_and_described(site: Site) -> None:
    """Each path answers, and stands in the document with its own way of writing parameters."""
    described = (await site.get("/api/v1/openapi.json"))["paths"]
    for path in PROMISED:
        async with site.client.get(path) as answer:
            assert answer.status == 200, path
        shape = path.replace("/plans/1", "/plans/{generation}").replace(f"n00001.{ZONE}", "{name}")
        assert "get" in described[shape], path
    for path in ("plans", "freeze", "thaw", "rollback", "limits", "adopt", "prune", "verify"):
        assert "post" in described[f"/api/v1/{path}"]


async def test_answers_are_as_the_document_says(site: Site, tmp_path: Path) -> None:
    """Schemathesis makes requests, sound and broken, from the document: no answer is outside it, or a bug's 5xx.

    Left out: that what the schema allows is accepted (a guard may refuse it), and what methods it has not.
    """
    (tmp_path / "schemathesis.toml").write_text("")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{site.url}/api/v1/openapi.json"),
        *("--max-examples", str(EXAMPLES), "--seed", "7", "--phases", "examples,coverage,fuzzing"),
        *("--exclude-path", "/api/v1/events", "--exclude-checks", "unsupported_method,positive_data_acceptance"),
        *("--header", f"Authorization: Bearer {TOKEN}", "--no-color"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()[-6000:]
    assert json.loads(await (await site.client.get("/readyz")).text())["status"] in ("ready", "degraded")
