"""An enactor in a process of its own, for tests that stop or kill it.

    python -m tests.e2e.runner '{"id": …, "store": URL, "host": …, "port": …, "secret": …, "state_dir": …}'

Prints each event as a line of JSON. With `"fenced": false` its writes are made as if no
fence were there: the control that shows what the fence is for.
"""

import asyncio
import base64
import dataclasses
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from enactord.backends.readers.aiodns import AiodnsReader
from enactord.backends.readers.bulk import BulkReader
from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.core.events import Event
from enactord.core.fence import FenceSeen
from enactord.core.records import Committed, Outcome, Served, Transaction
from enactord.core.retention import Keep
from enactord.daemon.collector import tune_collector
from enactord.engine.enactor import Enactor
from enactord.engine.settings import Ports, Settings, ZonePorts, ZoneSettings
from enactord.ports import KeyValue, LocalCopy, Observer, Verifier, ZoneBackend
from enactord.stores.by_url import open_store
from enactord.wire.tsig import TsigKey
from tests.world import DictCopy, tolerant


class SystemTime:
    def now(self) -> float:
        return time.time()


class Unfenced:
    """A zone whose writes carry whatever fence stands there: a naive enactor's writes, no more and no less."""

    def __init__(self, zone: ZoneBackend) -> None:
        self._zone = zone

    async def write(self, transaction: Transaction) -> Outcome:
        outcome: Outcome = Committed()
        for _ in range(20):
            seen = await self._zone.read_fence()
            outcome = await self._zone.write(replace(transaction, fence_seen=seen))
            if isinstance(outcome, Committed):
                break
        return outcome

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        return await self._zone.read(names)

    async def read_fence(self) -> FenceSeen:
        return await self._zone.read_fence()

    async def negative_ttl_s(self) -> int | None:
        return await self._zone.negative_ttl_s()

    async def close(self) -> None:
        await self._zone.close()


class Lines:
    """Prints every event."""

    def observe(self, event: Event) -> None:
        fields = dataclasses.asdict(event)
        print(json.dumps({"event": event.id, "kind": type(event).__name__} | fields), flush=True)


def build(
    spec: Mapping[str, Any], store: KeyValue, observer: Observer, copy: LocalCopy | None = None
) -> tuple[Enactor, list[ZoneBackend]]:
    """An enactor of one zone on a server that takes RFC 2136 updates."""
    key = TsigKey(name="enactor", algorithm="hmac-sha256", secret=base64.b64decode(spec["secret"]))
    name, host, port = spec["zone"], spec["host"], spec["port"]
    settings = ZoneSettings(
        name=name, batch_names_max=spec.get("batch_names_max", 25), in_flight_max=spec.get("in_flight_max", 16)
    )
    zone: ZoneBackend = Rfc2136Zone(
        name, host=host, port=port, key=key, clock=SystemTime(), timeout_s=spec.get("timeout_s", 5)
    )
    if not spec.get("fenced", True):
        zone = Unfenced(zone)
    verify_port = spec.get("verify_port", port)
    verifier = Verifier(
        server=f"{host}:{verify_port}",
        bulk=BulkReader(host, verify_port, timeout_s=3),
        sample=AiodnsReader(host, verify_port, timeout_s=3),
    )
    ports = Ports(
        store=store,
        zones={name: ZonePorts(settings=settings, zone=zone, verifiers=[verifier])},
        clock=SystemTime(),
        observer=observer,
        copy=copy or DictCopy(),
    )
    enactor = Enactor(
        Settings(
            head_start_s=0.0,  # all at once: what is shown here is that they may meet
            id=spec["id"],
            scope=spec.get("scope", "test"),
            zones=[settings],
            limits=tolerant(endpoints_removed_max_ratio=spec.get("removed_max", 1.0)),
            claim_ttl_s=spec.get("claim_ttl_s", 3),
            keep=Keep(plans=spec.get("keep_plans", 5)),
            prune_interval_s=spec.get("prune_interval_s", 2),
            repair_interval_s=spec.get("repair_interval_s", 5),
            repair_names_per_s=1e6,
        ),
        ports,
        random.Random(spec["id"]),
    )
    return enactor, [zone]


async def main(spec: Mapping[str, Any]) -> None:
    tune_collector()
    store = await open_store(spec["store"])
    enactor, zones = build(spec, store, Lines())
    try:
        await enactor.run()
    finally:
        for zone in zones:
            await zone.close()
        await store.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(json.loads(sys.argv[1])))
    except KeyboardInterrupt:
        pass
