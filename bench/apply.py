"""From publish to every endpoint seen served, as a ratio to the bare updates of the same names.

Both sides use the same server, the same encoder and the same batches, interleaved in one
run: the machine's speed cancels out. Bare: no store, no fence key in the store, no read-back.
enactord: one process, etcd as the plan store, every endpoint read back and committed.
"""

import argparse
import asyncio
import base64
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from enactord.adapters.clock import SystemClock
from enactord.adapters.rfc2136 import Rfc2136Zone
from enactord.adapters.stores import open_store
from enactord.adapters.wire.tsig import TsigKey
from enactord.core.content import parse_content
from enactord.core.fence import Fence
from enactord.core.plan import Manifest, read_plan
from enactord.core.records import Change, Committed, Transaction
from enactord.core.render import render
from enactord.registry.keys import Keys
from enactord.registry.mirror import Mirror
from enactord.registry.plans import Orders, Plans
from tests.servers.bind import Bind
from tests.servers.dns_server import DnsServer
from tests.servers.etcd import Etcd
from tests.servers.knot import Knot
from tests.world import SCOPE, fleet, plan

SERVERS = {"knot": (Knot, 100, 64), "bind": (Bind, 25, 16)}
"""Each with the names of a message and the messages in flight that suit it best."""
BARE, ENACTORD = "bare.test.", "enactord.test."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", choices=SERVERS, default="knot")
    parser.add_argument("--endpoints", type=int, default=10_000)
    parser.add_argument("--addresses", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace) -> None:
    """Run the rounds and print medians."""
    kind, names, in_flight = SERVERS[arguments.server]
    with Etcd() as etcd, kind([BARE, ENACTORD]) as dns:
        found = await _rounds(etcd, dns, arguments, names, in_flight)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    size = f"{arguments.endpoints} endpoints x {arguments.addresses} addresses"
    print(f"{arguments.server}: {size}, {arguments.rounds} rounds")
    print(f"  bare updates              {found['bare_s']:.3f} s  {found['bare_rounds_s']}")
    print(f"  publish to all committed  {found['enactord_s']:.3f} s  {found['enactord_rounds_s']}")
    print(f"  ratio                     {found['ratio']:.2f}")
    print(f"  of that, publishing       {found['publish_s']:.3f} s")
    print(f"  peak memory of enactord   {found['peak_mb']:.0f} MB")


async def _rounds(
    etcd: Etcd, dns: DnsServer, arguments: argparse.Namespace, names: int, in_flight: int
) -> dict[str, Any]:
    spec = {
        "id": "bench", "store": etcd.url, "zone": ENACTORD, "host": dns.host, "port": dns.port, "secret": dns.secret,
        "batch_names_max": names, "in_flight_max": in_flight, "repair_interval_s": 3600, "prune_interval_s": 3600,
        "keep_plans": 100, "claim_ttl_s": 10,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.e2e.runner", json.dumps(spec), stdout=asyncio.subprocess.DEVNULL
    )
    store = await open_store(etcd.url)
    keys = Keys(SCOPE)
    plans = Plans(store, keys, SystemClock())
    mirror = Mirror(keys)
    bare: list[float] = []
    whole: list[float] = []
    publishing: list[float] = []
    try:
        await asyncio.sleep(2)
        for generation in range(1, arguments.rounds + 2):
            endpoints = fleet(arguments.endpoints, generation, addresses=arguments.addresses, zone=BARE)
            bare_s = await _bare(dns, endpoints, generation, names, in_flight)
            document = plan(fleet(arguments.endpoints, generation, addresses=arguments.addresses, zone=ENACTORD))
            draft = read_plan(document)
            start = time.perf_counter()
            published = await plans.publish(draft, Orders())
            published_s = time.perf_counter() - start
            assert isinstance(published, Manifest), published
            await _wait_applied(store, keys, published.generation)
            whole_s = time.perf_counter() - start
            if generation > 1:  # the first fills empty zones
                bare.append(bare_s)
                whole.append(whole_s)
                publishing.append(published_s)
        await mirror.load(store)
        assert mirror.totals.owned == arguments.endpoints, mirror.totals
        assert mirror.totals.unseen == 0, mirror.totals
        peak_kb = _peak_kb(process.pid)
    finally:
        process.terminate()
        await process.wait()
        await store.close()
    return {
        "server": arguments.server,
        "endpoints": arguments.endpoints,
        "addresses": arguments.addresses,
        "bare_s": statistics.median(bare),
        "enactord_s": statistics.median(whole),
        "publish_s": statistics.median(publishing),
        "ratio": statistics.median(w / b for w, b in zip(whole, bare, strict=True)),
        "bare_rounds_s": [round(s, 3) for s in bare],
        "enactord_rounds_s": [round(s, 3) for s in whole],
        "peak_mb": peak_kb / 1024,
    }


def _peak_kb(pid: int) -> int:
    """Return the most memory that a process has held, in KiB. Source: proc(5), VmHWM."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


async def _wait_applied(store: Any, keys: Keys, generation: int) -> None:
    while True:
        page = await store.range(keys.applied(ENACTORD))
        if page.items and int(page.items[0].value[:20]) == generation:
            return
        await asyncio.sleep(0.002)


async def _bare(dns: DnsServer, endpoints: dict[str, list[str]], generation: int, names: int, in_flight: int) -> float:
    """Write all endpoints by our encoder, fenced, and nothing else; return the seconds it took."""
    key = TsigKey(name="enactor", algorithm="hmac-sha256", secret=base64.b64decode(dns.secret))
    zone = Rfc2136Zone(
        BARE, host=dns.host, port=dns.port, key=key, clock=SystemClock(), timeout_s=30, in_flight_max=in_flight
    )
    fence = Fence(scope=SCOPE, generation=generation, plan="0" * 16)
    contents = read_plan(plan(endpoints)).endpoints
    changes = [
        Change(name=name, after=render(name, generation, parse_content(text), 16)) for name, text in contents.items()
    ]
    start = time.perf_counter()
    opened = await zone.write(Transaction(fence_seen=await zone.read_fence(), fence_after=fence))
    assert isinstance(opened, Committed), opened
    gate = asyncio.Semaphore(in_flight)

    async def send(batch: Sequence[Change]) -> None:
        async with gate:
            outcome = await zone.write(Transaction(fence_seen=fence.seen, changes=batch))
            assert isinstance(outcome, Committed), outcome

    await asyncio.gather(*(send(changes[at : at + names]) for at in range(0, len(changes), names)))
    took_s = time.perf_counter() - start
    await zone.close()
    return took_s
