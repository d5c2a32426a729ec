"""Names that a real server does not take, keep or answer for, among others that follow the plan."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import dns.asyncquery
import dns.name
import dns.rcode
import dns.tsig
import dns.update
import pytest

from enactord.backends.readers.bulk import BulkReader
from enactord.core.events import EndpointDrifted, Retried, ZoneCameUp, ZoneWentDown
from enactord.core.ledger import Entry
from enactord.core.plan import read_plan
from enactord.core.records import Change, Records
from enactord.engine.enactor import Enactor
from enactord.engine.write import Fate
from enactord.store.keys import Keys
from enactord.store.plans import Orders, Plans
from enactord.stores.memory import MemoryStore
from tests.e2e.runner import SystemTime, build
from tests.servers.choosy import FORBIDDEN, OK, ChoosyBind, ChoosyKnot, ChoosyPowerDns
from tests.servers.dns_server import DnsServer
from tests.world import SCOPE, ZONE, Recorder, plan

pytestmark = pytest.mark.timeout(300)

COUNT = 400
LIMIT_S = 60.0


class Desk:
    """One enactor on one real server, with a store in memory."""

    def __init__(self, server: DnsServer) -> None:
        self.server = server
        self.store = MemoryStore()
        self.recorder = Recorder()
        self.plans = Plans(self.store, Keys(SCOPE), SystemTime(), zones=[ZONE])
        spec = {"id": "a", "zone": ZONE, "host": server.host, "port": server.port, "secret": server.secret}
        self.enactor: Enactor
        self.enactor, self.zones = build(spec | {"repair_interval_s": 1}, self.store, self.recorder)
        self.task = asyncio.create_task(self.enactor.run())
        self.reader = BulkReader(server.host, server.port, timeout_s=5, zone=ZONE)

    async def publish(self, endpoints: Mapping[str, Sequence[str]]) -> int:
        published = await self.plans.publish(read_plan(plan(endpoints)), Orders())
        generation: int = published.generation  # type: ignore[union-attr]
        return generation

    async def applied(self, generation: int) -> None:
        await self.until(lambda: self.enactor.cache.applied(ZONE) >= generation)

    async def serves(self, endpoints: Mapping[str, Sequence[str]]) -> bool:
        served = await self.reader.read(list(endpoints))
        return all(set(served[name].records.texts()) == set(wanted) for name, wanted in endpoints.items())

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = condition()
                if await found if asyncio.iscoroutine(found) else found:
                    return
                await asyncio.sleep(0.05)

    def entry(self, name: str) -> Entry:
        entry = self.enactor.cache.ledger.entry(name)
        assert entry is not None, name
        return entry

    async def foreign(self, edit: Callable[[dns.update.UpdateMessage], None]) -> None:
        update = dns.update.UpdateMessage(ZONE)
        edit(update)
        keyring = {dns.name.from_text("foreign"): dns.tsig.Key("foreign", self.server.foreign_secret, "hmac-sha256")}
        update.use_tsig(keyring)
        answer = await dns.asyncquery.tcp(update, self.server.host, 5, self.server.port)
        assert answer.rcode() == dns.rcode.NOERROR

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for zone in self.zones:
            await zone.close()
        await self.reader.close()


@pytest.fixture(params=[ChoosyBind, ChoosyKnot, ChoosyPowerDns], ids=["bind", "knot", "powerdns"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    with request.param([ZONE]) as server:
        opened = Desk(server)
        yield opened
        await opened.close()


def fleet(generation: int) -> dict[str, list[str]]:
    return {f"n{n:04}.{OK}.{ZONE}": [f"10.{generation}.{n // 250}.{n % 250 + 1}"] for n in range(COUNT)}


def odd_names(server: DnsServer) -> dict[str, list[str]]:
    """Names with what servers are known to refuse, each in its own way."""
    odd = {f"{label}.{ZONE}": ["10.9.9.9"] for label in FORBIDDEN}
    if isinstance(server, ChoosyBind):
        odd[f"my_host.{OK}.{ZONE}"] = ["10.9.9.9"]  # check-names, as BIND comes
    return odd


async def test_names_that_the_server_refuses_keep_no_other_from_the_plan(desk: Desk) -> None:
    """Each is held with what the server said; the others are served, plan after plan, and refilled when emptied."""
    bad = odd_names(desk.server)
    for generation in (1, 2, 3):
        wanted = fleet(generation)
        await desk.applied(await desk.publish(wanted | bad))
        assert await desk.serves(wanted)
        holds = {name: desk.entry(name).held for name in bad}
        assert {hold.guard for hold in holds.values() if hold is not None} == {"server"}
        word = "did not keep" if isinstance(desk.server, ChoosyPowerDns) else "the server answers"
        assert all(hold is not None and word in hold.detail for hold in holds.values())
        assert desk.enactor.cache.ledger.totals.held == len(bad)
    assert desk.recorder.of(ZoneWentDown, ZoneCameUp) == []
    name = f"n0007.{OK}.{ZONE}"
    await desk.foreign(lambda update: update.delete(name, "A"))
    await desk.until(lambda: desk.serves({name: fleet(3)[name]}))
    await desk.applied(await desk.publish(fleet(4)))
    assert await desk.serves(fleet(4))
    assert desk.enactor.cache.ledger.totals.held == 0


@pytest.mark.parametrize("desk", [ChoosyBind], ids=["bind"], indirect=True)
async def test_a_name_with_more_addresses_than_bind_takes_is_alone(desk: Desk) -> None:
    """SERVFAIL is not taken for a server that fails: the names beside it are written, and no retry is spent on it."""
    await desk.applied(await desk.publish({f"n0.{OK}.{ZONE}": ["10.0.0.1"]}))
    fence = desk.enactor.cache.fence(ZONE)
    assert fence is not None
    many = f"many.{OK}.{ZONE}"
    after = Records(ttl_s=5, a=tuple(bytes((10, 1, 0, number)) for number in range(150)), aaaa=())
    changes = [Change(name=name, after=after._replace(a=after.a[:3])) for name in fleet(1)] + [
        Change(name=many, after=after)
    ]
    writer = desk.enactor.writers[ZONE]
    fates = await writer.write(fence.txt, sorted(changes, key=lambda change: change.name))
    assert {name for name, written in fates.items() if written.fate is not Fate.COMMITTED} == {many}
    assert fates[many].fate is Fate.REJECTED
    assert "SERVFAIL" in fates[many].detail
    assert desk.recorder.of(Retried) == []


async def test_a_name_is_covered_by_a_delegation_for_as_long_as_that_stands(desk: Desk) -> None:
    """Held with the cut named, from before or from later on; not repaired meanwhile; served when the cut has left."""
    early, late = f"early.{OK}.{ZONE}", f"late.{OK}.{ZONE}"
    some = {f"n{n}.{ZONE[0]}.{OK}.{ZONE}": ["10.0.0.1"] for n in range(3)}
    names = {f"api.{early}": ["10.1.1.1"], f"api.{late}": ["10.1.1.2"]}
    await desk.foreign(lambda update: update.add(early, 30, "NS", "ns.elsewhere.test."))
    await desk.applied(await desk.publish(some | names))
    assert await desk.serves(some | {f"api.{late}": names[f"api.{late}"]})
    await desk.foreign(lambda update: update.add(late, 30, "NS", "ns.elsewhere.test."))
    await desk.until(lambda: desk.enactor.cache.ledger.totals.held == 2)
    for cut in (early, late):
        hold = desk.entry(f"api.{cut}").held
        assert hold is not None
        assert hold.guard == "covered"
        assert f"NS {cut}" in hold.detail
    await asyncio.sleep(2.5)  # some looks
    assert desk.recorder.of(EndpointDrifted) == []
    for cut in (early, late):
        await desk.foreign(lambda update, cut=cut: update.delete(cut, "NS"))  # type: ignore[misc]
    await desk.until(lambda: desk.serves(some | names))
    await desk.until(lambda: desk.enactor.cache.ledger.totals.held == 0)


async def test_a_name_that_a_foreign_record_left_is_served_under_a_wildcard(desk: Desk) -> None:
    """The wildcard's answer keeps it neither from the plan nor, when it is emptied, from repair."""
    name = f"www.{OK}.{ZONE}"
    await desk.foreign(lambda update: update.add(name, 30, "A", "192.0.2.1"))
    await desk.foreign(lambda update: update.add(f"*.{OK}.{ZONE}", 30, "A", "192.0.2.77"))
    await desk.applied(await desk.publish({name: ["10.1.1.1"]}))
    hold = desk.entry(name).held
    assert hold is not None
    assert "192.0.2.1" in hold.detail
    await desk.foreign(lambda update: update.delete(name, "A"))
    await desk.until(lambda: desk.serves({name: ["10.1.1.1"]}))
    await desk.until(lambda: desk.entry(name).held is None)
    await desk.foreign(lambda update: update.delete(name, "A"))
    await desk.until(lambda: desk.serves({name: ["10.1.1.1"]}))
    await desk.applied(await desk.publish({f"other.{OK}.{ZONE}": ["10.1.1.1"]}))
    assert await desk.serves({name: ["192.0.2.77"]})
