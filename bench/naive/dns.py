"""A zone of a real server (BIND, Knot) for the naive enactor: RFC 2136 and zone transfers, messages by dnspython.

The update key must be allowed A, AAAA, CNAME and TXT; the clean-up reads the zone's names by AXFR.
"""

import asyncio
import functools
from collections.abc import Mapping, Sequence

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.tsig
import dns.update
import dns.xfr
import dns.zone

from bench.naive.ports import Key, Outcome, Transaction, ZoneFailed
from enactord.wire.stream import MaybeReceived, NeverSent, Stream
from enactord.wire.tsig import TsigKey

_OUTCOMES = {
    dns.rcode.NOERROR: Outcome.DONE,
    dns.rcode.NXRRSET: Outcome.CHANGED,
    dns.rcode.YXRRSET: Outcome.CHANGED,
    dns.rcode.NXDOMAIN: Outcome.GONE,
}
"""Source: RFC 2136 section 2.2; what each of our requirements is answered where it does not hold."""


class DnsZone:
    """One zone of one server; implements `Zone`. Close it by `close`."""

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        key: TsigKey,
        transfer_key: TsigKey | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self._name = name
        self._host = host
        self._port = port
        self._key = key
        self._transfer_key = transfer_key or key
        self._timeout_s = timeout_s
        self._stream = Stream(host, port, in_flight_max=16)

    @property
    def name(self) -> str:
        return self._name

    async def read(self, keys: Sequence[Key]) -> Mapping[Key, tuple[str, ...]]:
        found = await asyncio.gather(*(self._ask(key) for key in keys))
        return dict(zip(keys, found, strict=True))

    async def names_below(self, name: str) -> Sequence[str]:
        zone = dns.zone.Zone(self._name, relativize=False)
        query, _ = dns.xfr.make_query(
            zone, serial=None, keyring=_keyring(self._transfer_key), keyalgorithm=self._transfer_key.algorithm
        )
        transfer = functools.partial(
            dns.query.inbound_xfr,
            *(self._host, zone, query, self._port),
            timeout=self._timeout_s,
            lifetime=10 * self._timeout_s,
        )
        try:
            # Not by dns.asyncquery: it waits by asyncio.wait_for, which before Python 3.12 may swallow a cancellation.
            await asyncio.to_thread(transfer)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            raise ZoneFailed(f"zone transfer: {error}") from error
        names = (node.to_text().lower() for node in zone.nodes)
        return sorted(known for known in names if known.endswith("." + name))

    async def transact(self, transaction: Transaction) -> Outcome:
        update = dns.update.UpdateMessage(self._name, keyring=_keyring(self._key), keyalgorithm=self._key.algorithm)
        for name in transaction.in_use:
            update.present(name)
        for key, values in transaction.exactly.items():
            if values:
                update.present(key.name, key.rtype, *(_text(key, value) for value in values))
            else:
                update.absent(key.name, key.rtype)
        for key in transaction.deletes:
            update.delete(key.name, key.rtype)
        for rrset in transaction.adds:
            update.add(rrset.key.name, rrset.ttl_s, rrset.key.rtype, *(_text(rrset.key, v) for v in rrset.values))
        rcode = (await self._exchange(update)).rcode()
        if rcode not in _OUTCOMES:
            raise ZoneFailed(f"the update was answered {dns.rcode.to_text(rcode)}")
        return _OUTCOMES[rcode]

    async def close(self) -> None:
        await self._stream.close()

    async def _ask(self, key: Key) -> tuple[str, ...]:
        query = dns.message.make_query(key.name, key.rtype, flags=0)
        reply = await self._exchange(query)
        if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise ZoneFailed(f"the question for {key.name} was answered {dns.rcode.to_text(reply.rcode())}")
        name, rtype = dns.name.from_text(key.name), dns.rdatatype.from_text(key.rtype)
        here = [rdata for rrset in reply.answer if (rrset.name, rrset.rdtype) == (name, rtype) for rdata in rrset]
        return tuple(sorted(_value(rdata) for rdata in here))

    async def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        """Send a message and return its answer; a signed one's answer is verified."""

        def made(message_id: int) -> bytes:
            message.id = message_id
            return message.to_wire()

        try:
            reply = await self._stream.ask(made, self._timeout_s)
            return dns.message.from_wire(reply, keyring=message.keyring, request_mac=message.request_mac or message.mac)
        except (NeverSent, MaybeReceived, dns.exception.DNSException) as error:
            raise ZoneFailed(f"{type(error).__name__}: {error}") from error


def _keyring(key: TsigKey) -> dict[dns.name.Name, dns.tsig.Key]:
    name = dns.name.from_text(key.name)
    return {name: dns.tsig.Key(name, key.secret, key.algorithm)}


def _text(key: Key, value: str) -> str:
    return f'"{value}"' if key.rtype == "TXT" else value


def _value(rdata: dns.rdata.Rdata) -> str:
    if isinstance(rdata, dns.rdtypes.ANY.TXT.TXT):
        return b"".join(rdata.strings).decode("ascii", "replace")
    return rdata.to_text()
