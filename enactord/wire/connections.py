"""The TCP connections of one enactor to one DNS server: few, whatever the number of its zones.

A server bounds the connections of all its clients together (PowerDNS 20, BIND 150 unless
told otherwise), and other clients need some: secondaries that transfer, resolvers after a
truncated answer, other enactors.
"""

from enactord.wire.stream import Stream

WRITE_CONNECTIONS_MAX = 2
READ_CONNECTIONS_MAX = 2
UPDATES_IN_FLIGHT_MAX = 64
"""On one connection; of one zone less, as `in_flight_max` and its pace say."""
QUESTIONS_IN_FLIGHT_MAX = 100
_WRITE_SPREAD_AT = 8
_READ_SPREAD_AT = 50
_WRITE_SHARE_MAX_RATIO = 0.25
"""Of all places for writing, to one zone among several: twice what a zone uses by default. A read may have half."""


class ServerConnections:
    """Connections to one server, shared by all zones on it.

    Writes and reads go over connections of their own, so that neither waits for the other. Of each there is one, while
    little is asked; two under load; one more, while a connection hangs. So at most 6, of which 2 are left five seconds
    after the load, and none after a minute without use.
    """

    def __init__(self, host: str, port: int) -> None:
        self.writes = Stream(
            host,
            port,
            in_flight_max=UPDATES_IN_FLIGHT_MAX,
            connections_max=WRITE_CONNECTIONS_MAX,
            spread_at=_WRITE_SPREAD_AT,
            share_max_ratio=_WRITE_SHARE_MAX_RATIO,
        )
        self.reads = Stream(
            host,
            port,
            in_flight_max=QUESTIONS_IN_FLIGHT_MAX,
            connections_max=READ_CONNECTIONS_MAX,
            spread_at=_READ_SPREAD_AT,
        )

    async def close(self) -> None:
        await self.writes.close()
        await self.reads.close()
