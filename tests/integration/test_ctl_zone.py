"""enactorctl adopt and verify against a real server: what is served, the ledger, and back."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.tsig
import dns.update
import pytest
from click.testing import CliRunner, Result

from enactord.cli.ctl import main as ctl
from enactord.core.fence import Fence
from enactord.store.cache import Cache
from enactord.store.control import Freeze, freeze
from enactord.store.fences import Fences
from enactord.store.keys import Keys
from enactord.stores.by_url import open_store
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer
from tests.servers.embedded import Embedded

SCOPE = "test"
ZONE = "example.test."

CONFIG = """
[enactor]
id = "e1"
scope = "{scope}"
state_dir = "{directory}/state"

[store]
url = "sqlite://{directory}/store.db"

[[zone]]
name = "{zone}"
backend = "rfc2136"
server = "127.0.0.1:{port}"
tsig_name = "enactor."
tsig_algorithm = "hmac-sha256"
tsig_secret_file = "{directory}/tsig.secret"
timeout_s = 2.0

[guard]
allow_private = true
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Embedded]:
    with Embedded([ZONE]) as server:
        (tmp_path / "tsig.secret").write_text(SECRET + "\n")
        (tmp_path / "tsig.secret").chmod(0o600)
        (tmp_path / "state").mkdir()
        config = CONFIG.format(scope=SCOPE, directory=tmp_path, zone=ZONE, port=server.port)
        (tmp_path / "enactord.toml").write_text(config)
        yield server


def run(tmp_path: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(ctl, ["--config", str(tmp_path / "enactord.toml"), "--json", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def put(server: Embedded | DnsServer, name: str, rtype: str, *values: str) -> None:
    """Put records at a name past the fence, as somebody else would."""
    update = dns.update.UpdateMessage(ZONE)
    update.use_tsig(dns.tsig.Key("foreign.", FOREIGN_SECRET, "hmac-sha256"))
    update.delete(name)
    for value in values:
        update.add(name, 30, rtype, value)
    answer = dns.query.tcp(update, server.host, timeout=5, port=server.port)
    assert answer.rcode() == 0, answer


def open_plan(server: Embedded, tmp_path: Path, **addresses: list[str]) -> None:
    """Publish a plan of these names and let store and zone stand at its fence, as when it was opened."""
    endpoints = {
        f"{name}.{ZONE}": {"ttl_s": 30, "targets": [{"address": address, "weight": 1} for address in targets]}
        for name, targets in addresses.items()
    }
    content = {"schema": "enactord.plan/v1", "scope": SCOPE, "endpoints": endpoints}
    (tmp_path / "plan.json").write_text(json.dumps(content))
    published = run(tmp_path, "publish", str(tmp_path / "plan.json"))
    assert published.exit_code == 0, published.output

    async def follow() -> Fence:
        store = await open_store(f"sqlite://{tmp_path}/store.db")
        try:
            cache = Cache(Keys(SCOPE))
            await cache.load(store)
            manifest = cache.manifest(cache.head)
            assert manifest is not None
            fence = Fence(scope=SCOPE, generation=manifest.generation, plan=manifest.mark)
            assert await Fences(store, Keys(SCOPE)).follow(ZONE, fence)
            return fence
        finally:
            await store.close()

    put(server, f"_enactord.{ZONE}", "TXT", f'"{asyncio.run(follow()).text}"')


def test_adopt_then_verify_then_repair(server: Embedded, tmp_path: Path) -> None:
    """What is adopted is verified; emptied or changed it is found, and put back under the fence."""
    put(server, f"a.{ZONE}", "A", "10.0.0.1", "10.0.0.2")
    put(server, f"b.{ZONE}", "A", "10.0.0.3")
    adopted = run(tmp_path, "adopt", f"a.{ZONE}", f"b.{ZONE}")
    assert adopted.exit_code == 0, adopted.output
    assert [found["ttl_s"] for found in json.loads(adopted.stdout)["adopted"]] == [30, 30]
    sound = run(tmp_path, "verify")
    assert (sound.exit_code, json.loads(sound.stdout)["names"]) == (0, 2), sound.output
    open_plan(server, tmp_path, a=["10.0.0.1", "10.0.0.2"], b=["10.0.0.3"])
    put(server, f"a.{ZONE}", "A")
    put(server, f"b.{ZONE}", "A", "10.66.66.66")
    wrong = run(tmp_path, "verify")
    assert wrong.exit_code == 1
    found = {finding["name"]: finding["wrong"] for finding in json.loads(wrong.stdout)["findings"]}
    assert found == {f"a.{ZONE}": "empty", f"b.{ZONE}": "drifted"}
    repaired = run(tmp_path, "verify", "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert json.loads(repaired.stdout)["repaired"] == [f"a.{ZONE}", f"b.{ZONE}"]


def test_repair_does_nothing_while_frozen(server: Embedded, tmp_path: Path) -> None:
    """Frozen as a whole, a drifted name is found and left as it is."""
    put(server, f"a.{ZONE}", "A", "10.0.0.1")
    assert run(tmp_path, "adopt", f"a.{ZONE}").exit_code == 0
    open_plan(server, tmp_path, a=["10.0.0.1"])
    put(server, f"a.{ZONE}", "A", "10.66.66.66")
    assert run(tmp_path, "freeze", "--reason", "look").exit_code == 0
    found = run(tmp_path, "verify", "--repair")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["repaired"] == []
    assert run(tmp_path, "thaw").exit_code == 0
    assert run(tmp_path, "verify", "--repair").exit_code == 0


def test_adopt_refuses_alias_and_nothing(server: Embedded, tmp_path: Path) -> None:
    """A CNAME and an absent name are refused, and nothing is adopted with them."""
    put(server, f"a.{ZONE}", "A", "10.0.0.1")
    put(server, f"alias.{ZONE}", "CNAME", f"a.{ZONE}")
    refused = run(tmp_path, "adopt", f"a.{ZONE}", f"alias.{ZONE}", f"nothing.{ZONE}")
    assert refused.exit_code == 1
    refusals = json.loads(refused.stdout)["error"]["refusals"]
    assert [refusal["guard"] for refusal in refusals] == ["alias", "nothing"]
    assert json.loads(run(tmp_path, "endpoints").stdout) == {"endpoints": []}


def test_a_zone_is_retired_with_its_records(server: Embedded, tmp_path: Path) -> None:
    """Its names leave the DNS and the store; the fence stays in the DNS, above what it was."""
    put(server, f"a.{ZONE}", "A", "10.0.0.1", "10.0.0.2")
    put(server, f"b.{ZONE}", "A", "10.0.0.3")
    assert run(tmp_path, "adopt", f"a.{ZONE}", f"b.{ZONE}").exit_code == 0
    open_plan(server, tmp_path, a=["10.0.0.1", "10.0.0.2"], b=["10.0.0.3"])
    put(server, f"b.{ZONE}", "A", "10.66.66.66")
    retired = run(tmp_path, "zone", "retire", ZONE, "--reason", "moved", "--remove-records")
    assert retired.exit_code == 0, retired.output
    document = json.loads(retired.stdout)
    assert document["removed"] == [f"a.{ZONE}"]
    assert [kept["name"] for kept in document["kept"]] == [f"b.{ZONE}"]
    assert "gen=3" in document["fence"]
    status = json.loads(run(tmp_path, "status").stdout)
    assert (status["retired"][0]["reason"], status["endpoints"]["total"]) == ("moved", 0)
    again = run(tmp_path, "zone", "retire", ZONE, "--reason", "moved")
    assert again.exit_code == 1
    other = run(tmp_path, "zone", "retire", "other.test", "--reason", "moved", "--remove-records")
    assert other.exit_code == 2
    assert "--config FILE" in other.output


async def test_a_fence_set_by_hand_is_lowered(server: Embedded, tmp_path: Path) -> None:
    """The operator's way back, by the commands of the runbook; the freeze is old enough already."""
    far = Fence(scope=SCOPE, generation=10**15, plan="0123456789abcdef")
    put(server, f"_enactord.{ZONE}", "TXT", f'"{far.text}"')
    refused = await asyncio.to_thread(run, tmp_path, "fence", "lower", ZONE, "--reason", "INC-1")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["error"]["refusals"][0]["guard"] == "freeze"
    store = await open_store(f"sqlite://{tmp_path}/store.db")
    try:
        old = Freeze(mode="all", reason="r", author="x", since=time.time() - 400)
        await freeze(store, Keys(SCOPE), old)
    finally:
        await store.close()
    done = await asyncio.to_thread(run, tmp_path, "fence", "lower", "--all", "--reason", "INC-1")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["zones"][0]["before"] == far.text
    assert document["zones"][0]["generation"] == document["to"] == 1
    answer = dns.query.tcp(dns.message.make_query(f"_enactord.{ZONE}", "TXT"), server.host, port=server.port, timeout=5)
    assert document["zones"][0]["fence"] in answer.answer[0].to_text()
    again = await asyncio.to_thread(run, tmp_path, "fence", "lower", ZONE, "--reason", "INC-1")
    assert json.loads(again.stdout)["error"]["refusals"][0]["guard"] == "reach"
