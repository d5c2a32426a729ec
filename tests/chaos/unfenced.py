"""An enactor whose writes require nothing of the zone: the control that shows what the fence is for.

python -m tests.chaos.unfenced run --config FILE
"""

import asyncio
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path

import dns.exception
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import dns.update
from prometheus_client import CollectorRegistry

from enactord.backends.backend import ZoneConfig
from enactord.backends.rfc2136.keys import UpdatedZone
from enactord.config.reader import load_config
from enactord.config.tables import Config
from enactord.core.content import unpack_address
from enactord.core.records import Committed, Outcome, Reason, Refused, Transaction, Unknown
from enactord.daemon.wiring import open_ports
from enactord.engine.enactor import Enactor
from enactord.http.app import Pages, serve_http
from enactord.ports import ZoneBackend
from enactord.telemetry.failures import Failures
from enactord.telemetry.fanout import Fanout
from enactord.telemetry.log import LogObserver, make_logger
from enactord.telemetry.metrics import Metrics
from tests.e2e.runner import Unfenced


class Naive(Unfenced):
    """A zone that is opened as it should be, and whose names are then simply overwritten."""

    def __init__(self, zone: ZoneBackend, config: ZoneConfig) -> None:
        super().__init__(zone)
        assert isinstance(config, UpdatedZone)
        self._config = config
        self._keyring = {dns.name.from_text(config.tsig_name): dns.tsig.Key(config.tsig_name, config.tsig_secret)}

    async def write(self, transaction: Transaction) -> Outcome:
        if transaction.fence_after is not None:
            return await self._zone.write(transaction)
        update = dns.update.UpdateMessage(self._config.name, keyring=self._keyring)
        for change in transaction.changes:
            owner = dns.name.from_text(change.name)
            for rtype, packed in (("A", change.after.a), ("AAAA", change.after.aaaa)):
                update.delete(owner, rtype)
                for address in packed:
                    update.add(owner, change.after.ttl_s, rtype, unpack_address(address))
        server = self._config.first_server
        try:
            answer = await asyncio.to_thread(dns.query.tcp, update, server.host, self._config.timeout_s, server.port)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            return Unknown(detail=str(error))
        if answer.rcode() != dns.rcode.NOERROR:
            return Refused(reason=Reason.BUSY, detail=dns.rcode.to_text(answer.rcode()))
        return Committed()


async def main(config: Config) -> None:
    """Run until SIGTERM."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, [zone.name for zone in config.zones])
    logger = make_logger(config.log.level, config.log.format, enactor=config.enactor.id, scope=config.enactor.scope)
    async with open_ports(config, Fanout({"log": LogObserver(logger), "metrics": metrics}, Failures())) as ports:
        naive = {
            zone.name: replace(ports.zones[zone.name], zone=Naive(ports.zones[zone.name].zone, zone))
            for zone in config.zones
        }
        enactor = Enactor(config.settings, replace(ports, zones=naive), random.Random())
        async with serve_http(config.http, Pages(enactor, metrics, registry)):
            work = asyncio.ensure_future(enactor.run())
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
            await asyncio.gather(work, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(load_config(Path(sys.argv[-1]))))
