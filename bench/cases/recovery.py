"""Time to full service: after the zone was emptied, after etcd was away, after all enactors restarted at once."""

import asyncio
import signal
import time
from collections.abc import Sequence

import dns.name
import dns.query
import dns.rcode
import dns.tsig
import dns.update

from bench.candidates.enactord import Enactord
from bench.fleet import ANSWERS_MAX, Fleet
from bench.naive.batched import BatchedZone
from bench.runner import Bench
from bench.sites import Site, open_site
from enactord.backends.readers.bulk import BulkReader
from enactord.clock import SystemClock
from enactord.core.content import parse_content
from enactord.core.errors import StoreDown
from enactord.core.names import fence_name
from enactord.core.plan import read_plan
from enactord.core.records import NO_RECORDS, Change, Records
from enactord.core.render import render

TIME = "time"
_ZONE = "recovery.test."
_CANDIDATE = "enactord 3, etcd"
_REPAIR = {"interval_s": 5.0}
_SAMPLE = 97
"""Each so manieth name is asked for until it is well; then all are."""
_LIMIT_S = 300.0


async def run(bench: Bench) -> None:
    for server, count in bench.sizes.places:
        with open_site(server, [_ZONE]) as site:
            member = Enactord(site, Fleet(_ZONE, count), enactors=3, repair=_REPAIR)
            reader = BulkReader(site.server.host, site.server.port, timeout_s=10)
            await member.prepare()
            try:
                bench.tell(f"{server}: filling {count:,} endpoints")
                await member.apply()
                await _emptied(bench, site, member, reader)
                await _store_away(bench, site, member, reader)
                await _restarted(bench, site, member)
            finally:
                await reader.close()
                await member.close()


async def _emptied(bench: Bench, site: Site, member: Enactord, reader: BulkReader) -> None:
    """Somebody deletes every address and the fence."""
    case = f"{len(member.fleet.names):,} endpoints, the zone emptied"
    bench.tell(f"{site.name}: {case}")
    zone = BatchedZone(_ZONE, host=site.server.host, port=site.server.port, key=site.foreign_key, clock=SystemClock())
    removals = [Change(name=name, after=NO_RECORDS) for name in sorted(member.fleet.names)]
    try:
        await zone.apply(removals, batch_names=site.kind.batch_names, in_flight_max=site.kind.in_flight)
    finally:
        await zone.close()
    await asyncio.to_thread(_delete_fence, site)
    start = time.perf_counter()
    await _until_served(member.fleet, member.generation, reader)
    bench.record(site.name, case, _CANDIDATE, TIME, "s", time.perf_counter() - start)
    bench.remark(site.name, case, _CANDIDATE, f"repair.interval_s {_REPAIR['interval_s']:g}, names_per_s as it comes")
    bench.cannot(
        site.name, case, dict.fromkeys(("naive", "octoDNS", "nsupdate"), "does not look until it is run again")
    )


async def _store_away(bench: Bench, site: Site, member: Enactord, reader: BulkReader) -> None:
    """etcd ends and comes back; a plan is published as soon as that is possible."""
    case = f"{len(member.fleet.names):,} endpoints, etcd away for {bench.sizes.outage_s:g} s"
    site.etcd.stop()
    start = time.perf_counter()
    while (left := start + bench.sizes.outage_s - time.perf_counter()) > 0:
        bench.tell(f"{site.name}: {case}, {left:.0f} s to go")
        await asyncio.sleep(min(1.0, left))
    missing = await _unserved(member.fleet, member.generation, reader, member.fleet.names)
    bench.record(site.name, case, _CANDIDATE, "names not served meanwhile", "", len(missing))
    await asyncio.to_thread(site.etcd.start)
    back = time.perf_counter()
    member.fleet.step()
    while True:
        try:
            manifest, _, _ = await member.publish()
            break
        except StoreDown:
            await asyncio.sleep(0.05)
    published = time.perf_counter()
    done = await member.until_applied(manifest.generation)
    bench.record(site.name, case, _CANDIDATE, TIME, "s", done - back)
    bench.record(site.name, case, _CANDIDATE, "until it could be published", "s", published - back)


async def _restarted(bench: Bench, site: Site, member: Enactord) -> None:
    """All enactors are killed at once and started again; a plan was published in between."""
    case = f"{len(member.fleet.names):,} endpoints, all enactors killed and started again"
    bench.tell(f"{site.name}: {case}")
    for each in member.members:
        await each.end(signal.SIGKILL)
    member.fleet.step()
    manifest, _, _ = await member.publish()
    start = time.perf_counter()
    for each in member.members:
        await each.start()
    done = await member.until_applied(manifest.generation)
    bench.record(site.name, case, _CANDIDATE, TIME, "s", done - start)


def _delete_fence(site: Site) -> None:
    name = dns.name.from_text("foreign")
    keyring = {name: dns.tsig.Key(name, site.foreign_key.secret, dns.tsig.HMAC_SHA256)}
    update = dns.update.UpdateMessage(_ZONE, keyring=keyring)
    update.delete(dns.name.from_text(fence_name(_ZONE)), "TXT")
    reply = dns.query.tcp(update, site.server.host, 10, site.server.port)
    assert reply.rcode() == dns.rcode.NOERROR, dns.rcode.to_text(reply.rcode())


async def _until_served(fleet: Fleet, generation: int, reader: BulkReader) -> None:
    """Wait until all names serve what the fleet says: a sample is asked for, and when that is well, all."""
    async with asyncio.timeout(_LIMIT_S):
        while await _unserved(fleet, generation, reader, fleet.names[::_SAMPLE]):
            await asyncio.sleep(0.1)
        while await _unserved(fleet, generation, reader, fleet.names):
            await asyncio.sleep(0.1)


async def _unserved(fleet: Fleet, generation: int, reader: BulkReader, names: Sequence[str]) -> list[str]:
    contents = read_plan(fleet.document()).endpoints
    served = await reader.read(names)
    wanted: dict[str, Records] = {
        name: render(name, generation, parse_content(contents[name]), ANSWERS_MAX) for name in names
    }
    return [name for name in names if name not in served or not served[name].shows(wanted[name])]
