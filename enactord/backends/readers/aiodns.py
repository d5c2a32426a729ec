"""Asking a server through aiodns (c-ares): a stack that shares no code with the writer."""

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence

import aiodns
import pycares

from enactord.core.errors import ZoneDown
from enactord.core.records import NO_RECORDS, Served, served_with

_NOTHING_THERE = frozenset({aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA})
_NOTHING_SERVED = Served(records=NO_RECORDS)
_TRIES = 2


class AiodnsReader:
    """Asks one authoritative server by UDP (TCP where an answer is truncated); implements `ServedReader`.

    c-ares hides whether an answer is authoritative, and reports a CNAME whose target
    does not exist as a name that does not: use `BulkReader` where that matters.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float, in_flight_max: int = 100) -> None:
        assert in_flight_max >= 2
        self._server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._timeout_s = timeout_s
        self._names_in_flight_max = in_flight_max // 2  # beyond 100 questions a socket, loopback drops some

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        if not names:
            return {}
        found: dict[str, Served] = {}
        problems: list[str] = []
        # c-ares caches answers: a resolver that has asked before would show what was served before the write.
        async with aiodns.DNSResolver(
            nameservers=[self._server],
            timeout=self._timeout_s / _TRIES,
            tries=_TRIES,
            flags=pycares.ARES_FLAG_NOSEARCH | pycares.ARES_FLAG_NORECURSE | pycares.ARES_FLAG_EDNS,
        ) as resolver:
            waiting = iter(names)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(len(names), self._names_in_flight_max)):
                    group.create_task(self._read_names(resolver, waiting, found, problems))
        if not found:
            raise ZoneDown(f"{self._server}: {problems[-1]}")
        return found

    async def _read_names(
        self, resolver: aiodns.DNSResolver, names: Iterator[str], found: dict[str, Served], problems: list[str]
    ) -> None:
        """Take names until none is left, or one failed: then this worker asks no more."""
        for name in names:
            try:
                # The limit on top of c-ares's own is for c-ares itself going astray.
                async with asyncio.timeout(2 * self._timeout_s):
                    a, aaaa = await asyncio.gather(_ask(resolver, name, "A"), _ask(resolver, name, "AAAA"))
            except (aiodns.error.DNSError, TimeoutError) as error:
                problems.append(str(error) or "no answer in time")
                if _timed_out(error):
                    return
                continue
            found[name] = _served(a, aaaa)


async def _ask(resolver: aiodns.DNSResolver, name: str, rtype: str) -> list[pycares.DNSRecord]:
    """Return the records in the answer section, [] where nothing is there."""
    try:
        return (await resolver.query_dns(name, rtype)).answer
    except aiodns.error.DNSError as error:
        if error.args[0] in _NOTHING_THERE:
            return []
        raise


def _timed_out(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or error.args[0] in (
        aiodns.error.ARES_ETIMEOUT,
        aiodns.error.ARES_ECONNREFUSED,
    )


def _served(a: list[pycares.DNSRecord], aaaa: list[pycares.DNSRecord]) -> Served:
    addresses_a: list[bytes] = []
    addresses_aaaa: list[bytes] = []
    ttls: list[int] = []
    for record in (*a, *aaaa):
        match record.data:
            case pycares.CNAMERecordData(cname=cname):
                return Served(records=NO_RECORDS, alias=cname.lower().rstrip(".") + ".")
            case pycares.ARecordData(addr=text):
                addresses_a.append(socket.inet_pton(socket.AF_INET, text))
            case pycares.AAAARecordData(addr=text):
                addresses_aaaa.append(socket.inet_pton(socket.AF_INET6, text))
            case _:
                continue
        ttls.append(record.ttl)
    if not ttls:
        return _NOTHING_SERVED
    return served_with(ttls, tuple(sorted(addresses_a)), tuple(sorted(addresses_aaaa)))
