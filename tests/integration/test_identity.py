"""An installation's id on real servers: a wiped store, a second installation, a second process, a take-over."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import dns.query
import dns.tsigkeyring
import dns.update
import pytest
from click.testing import CliRunner

from enactord.cli.ctl import main as ctl
from enactord.core.fence import Fence, parse_fence_text
from enactord.store.cache import Cache
from enactord.store.keys import Keys
from enactord.stores.local_copy import read_copy
from tests.daily import daily
from tests.deploy.process import Service, service
from tests.integration.test_emergency import answers
from tests.servers.bind import Bind
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer, free_port
from tests.servers.etcd import Etcd
from tests.servers.knot import Knot
from tests.world import fleet, plan

pytestmark = pytest.mark.timeout(240)

ZONE = "example.test."
OTHER = "other.test."
FENCE = f"_enactord.{ZONE}"
NAME = f"n00001.{ZONE}"
TTL_S = 3
CONFIG = """
[enactor]
id = "{id}"
scope = "test"
state_dir = "{folder}/state"

[store]
url = "{store}"
timeout_s = 2
claim_ttl_s = {ttl_s}

{zones}

[guard]
allow_private = true
endpoints_replaced_max_ratio = 1.0
scope_capacity_removed_max_ratio = 1.0

[repair]
interval_s = 1

[http]
listen = "127.0.0.1:{port}"

[log]
format = "json"
"""
CONFIGURED_ZONE = """
[[zone]]
name = "{zone}"
backend = "rfc2136"
server = "{host}:{port}"
tsig_name = "enactor"
tsig_secret_file = "{folder}/tsig.secret"
timeout_s = 2
"""


@dataclass
class Site:
    """A DNS server, and the configs of enactors that write there."""

    server: DnsServer
    folder: Path
    zones: tuple[str, ...] = (ZONE,)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def config(self, name: str, store: str, *, own_id: str = "") -> Path:
        folder = self.folder / name
        folder.mkdir()
        (folder / "tsig.secret").write_text(SECRET + "\n")
        (folder / "tsig.secret").chmod(0o600)
        host, port = self.server.host, self.server.port
        zones = "".join(CONFIGURED_ZONE.format(zone=z, host=host, port=port, folder=folder) for z in self.zones)
        config = folder / "enactord.toml"
        identity, http = own_id or name, free_port()
        config.write_text(CONFIG.format(id=identity, folder=folder, store=store, ttl_s=TTL_S, zones=zones, port=http))
        return config

    def edit(self, change: Callable[[dns.update.UpdateMessage], None], zone: str = ZONE) -> None:
        """Change a zone by the other key, as somebody else would."""
        keyring = dns.tsigkeyring.from_text({"foreign": FOREIGN_SECRET})
        update = dns.update.UpdateMessage(zone, keyring=keyring, keyalgorithm="hmac-sha256")
        change(update)
        answer = dns.query.tcp(update, self.server.host, timeout=5, port=self.server.port)
        assert answer.rcode() == 0, answer

    def empty(self, name: str, zone: str = ZONE) -> None:
        self.edit(lambda update: update.delete(name), zone)

    def put_fence(self, text: str, zone: str = ZONE) -> None:
        self.edit(lambda update: update.replace(f"_enactord.{zone}", 0, "TXT", f'"{text}"'), zone)

    def fence(self) -> Fence:
        (text,) = answers(self.server, FENCE, "TXT")
        found = parse_fence_text(text.strip('"').encode())
        assert found is not None, text
        return found

    def serves(self, generation: int, name: str = NAME, zone: str = ZONE) -> bool:
        return answers(self.server, name, "A") == sorted(fleet(3, generation, zone=zone)[name])


async def run(config: Path, *words: str, code: int = 0) -> dict[str, object]:
    """Run a command by a config beside the loop; returns its document."""
    arguments = ["--config", str(config), *words, "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, ctl, arguments)
    assert done.exit_code == code, done.output
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


async def publish(config: Path, generation: int, *zones: str) -> None:
    """Publish three names of each zone, whose addresses tell the generation."""
    endpoints = {n: a for zone in zones or (ZONE,) for n, a in fleet(3, generation, zone=zone).items()}
    file = config.with_name("plan.json")
    file.write_text(json.dumps(plan(endpoints)))
    await run(config, "publish", str(file))


def copy_of(config: Path) -> Cache:
    """Return what an enactor's copy on local disk shows."""
    cache = Cache(Keys("test"))
    cache.restore(*read_copy(config.parent / "state"))
    return cache


def is_whole(copy: Cache, fence: Fence) -> bool:
    """Whether a copy has all that the zone was last seen to need."""
    same = (copy.installation, copy.applied(ZONE)) == (fence.installation, fence.generation)
    return same and copy.ledger.totals.owned == 3


def says(enactor: Service, words: str) -> Callable[[], bool]:
    return lambda: words in enactor.standing()


def well(enactor: Service) -> Callable[[], bool]:
    return lambda: bool(enactor.standing()) and "degraded" not in enactor.standing()


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd() as started:
        yield started


@pytest.fixture(params=daily([Bind, Knot], 1))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with request.param([ZONE, OTHER]) as server:
        yield Site(server, tmp_path)


async def test_a_wiped_etcd_erases_no_copy_and_is_seeded_from_it(site: Site, etcd: Etcd) -> None:
    """The enactor refuses the empty store, refills an emptied name, says what to type, and goes on after that."""
    config = site.config("a", etcd.url)
    async with service(config) as enactor:
        for generation in (1, 2):
            await publish(config, generation)
            await enactor.until(lambda generation=generation: site.serves(generation))  # type: ignore[misc]
        fence = site.fence()
        await enactor.until(lambda: is_whole(copy_of(config), fence))
        etcd.kill()
        shutil.rmtree(etcd.dir / "data")
        etcd.start()
        await enactor.until(says(enactor, "the plan store is empty"))
        assert "enactorctl restore --from-copy" in enactor.standing()
        refused = json.dumps(await run(config, "publish", str(config.with_name("plan.json")), code=1))
        assert "the store was wiped" in refused
        assert "restore --from-copy" in refused
        await enactor.until(lambda: enactor.event("installation.refused"))
        site.empty(NAME)
        await enactor.until(lambda: site.serves(2))
        assert is_whole(copy_of(config), fence)
        assert site.fence() == fence

        done = await run(config, "restore", "--from-copy")
        assert (done["newest"], done["installation"]) == (2, fence.installation)
        again = await run(config, "restore", "--from-copy", code=1)
        assert "not_empty" in json.dumps(again)
        await enactor.until(lambda: enactor.event("installation.accepted"))
        await enactor.until(well(enactor))
        await publish(config, 3)
        await enactor.until(lambda: site.serves(3))
        assert (await run(config, "status"))["installation"] == fence.installation


async def test_a_second_installation_is_kept_out(site: Site, etcd: Etcd) -> None:
    """Two stores with one scope name one zone: the second writes nothing there, and says whose it is."""
    with Etcd() as second:
        first_config, second_config = site.config("a", etcd.url), site.config("b", second.url)
        async with service(first_config) as first:
            await publish(first_config, 1)
            await first.until(lambda: site.serves(1))
            own = site.fence().installation
            async with service(second_config) as late:
                await publish(second_config, 9)
                await late.until(says(late, f"another installation {own}"))
                assert (await run(second_config, "status"))["installation"] is None
                await publish(first_config, 2)
                await first.until(lambda: site.serves(2))
                site.empty(NAME)
                await first.until(lambda: site.serves(2))
                assert site.fence().installation == own


async def test_a_zone_of_a_dead_installation_is_taken_over(site: Site, etcd: Etcd) -> None:
    """Its store is gone for good, and with it every copy: the command puts our fence above what was shown."""
    config = site.config("a", etcd.url)
    dead = f"v=enactord1 scope=test gen=7 plan={'a' * 16} id={'d' * 16}"
    site.put_fence(dead)
    async with service(config) as enactor:
        await enactor.until(says(enactor, f"another installation {'d' * 16}"))
        refused = await run(config, "emergency", "seal", ZONE)  # no id of ours is known: the scope decides
        assert refused["held"]
        await run(config, "emergency", "release", ZONE)
        assert site.fence().installation == "d" * 16
        taken = await run(config, "zone", "take", ZONE, "--reason", "INC-4711")
        assert site.fence().generation == taken["generation"] == 10
        assert site.fence().installation == taken["installation"] != "d" * 16
        await publish(config, 1)
        await enactor.until(lambda: site.serves(1))
        await enactor.until(well(enactor))
        nothing = await run(config, "zone", "take", ZONE, "--reason", "once more", code=1)
        assert "there is nothing to take" in json.dumps(nothing)


async def test_a_fence_of_an_unknown_version_stops_its_zone_alone(site: Site, etcd: Etcd) -> None:
    """Nothing of this version overwrites it: no raise, no repair, no emergency, no take-over."""
    site.zones = (ZONE, OTHER)
    config = site.config("a", etcd.url)
    async with service(config) as enactor:
        await publish(config, 1, ZONE, OTHER)
        await enactor.until(lambda: site.serves(1) and site.serves(1, f"n00001.{OTHER}", OTHER))
        site.put_fence("v=enactord2 whatever=1")
        await enactor.until(says(enactor, "start the version that writes enactord2"))
        await publish(config, 2, ZONE, OTHER)
        await enactor.until(lambda: site.serves(2, f"n00001.{OTHER}", OTHER))
        await run(config, "emergency", "seal", ZONE, code=1)
        await run(config, "zone", "take", ZONE, "--reason", "r", code=1)
        assert answers(site.server, FENCE, "TXT") == ['"v=enactord2 whatever=1"']
        assert site.serves(1)


async def test_the_later_of_two_processes_with_one_id_waits(site: Site, etcd: Etcd) -> None:
    """A copied config: the later one claims nothing and says so, and takes over when the first is killed."""
    first_config = site.config("a", etcd.url)
    second_config = site.config("b", etcd.url, own_id="a")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(service(first_config))
        await publish(first_config, 1)
        await first.until(lambda: site.serves(1))
        async with service(second_config) as later:
            await later.until(says(later, "another process has the id a, too"))
            await later.until(lambda: later.event("enactor.same_id"))
            await publish(first_config, 2)
            await first.until(lambda: site.serves(2))
            assert well(first)()
            await stack.aclose()
            await later.until(lambda: later.event("enactor.own_id"))
            await publish(second_config, 3)
            await later.until(lambda: site.serves(3))
