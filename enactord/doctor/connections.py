"""Whether a DNS server lets one enactor open as many TCP connections as it uses."""

import asyncio

from enactord.doctor.check import Check, Group, State
from enactord.wire.address import Address
from enactord.wire.answer import TYPE_SOA, pack_query, pack_question
from enactord.wire.connections import READ_CONNECTIONS_MAX, WRITE_CONNECTIONS_MAX
from enactord.wire.stream import MaybeReceived, NeverSent, Stream

WANTED = WRITE_CONNECTIONS_MAX + READ_CONNECTIONS_MAX
_FIX = "allow more: BIND tcp-clients, Knot tcp-max-clients, PowerDNS max-tcp-connections; {} for each enactor"


async def check_connections(server: Address, zone: str, timeout_s: float) -> Check:
    """Open the connections of one enactor at once, and ask on each while all are open."""
    streams = [Stream(server.host, server.port, in_flight_max=1) for _ in range(WANTED)]
    query = pack_query(pack_question(zone, TYPE_SOA))
    try:
        answered = sum(await asyncio.gather(*(_answers(stream, query, timeout_s) for stream in streams)))
    finally:
        for stream in streams:
            await stream.close()
    seen = f"{answered} of {WANTED} TCP connections at once were answered"
    if answered == WANTED:
        return Check(group=Group.CONNECTIONS, subject=str(server), state=State.OK, seen=seen)
    if not answered:
        seen = "no TCP connection was answered"
        return Check(group=Group.CONNECTIONS, subject=str(server), state=State.UNKNOWN, seen=seen, fix="see its zones")
    fix = _FIX.format(WANTED)
    return Check(group=Group.CONNECTIONS, subject=str(server), state=State.FAULT, seen=seen, fix=fix)


async def _answers(stream: Stream, query: bytes, timeout_s: float) -> bool:
    """Whether the server answers on a connection, be it by a refusal."""
    try:
        await stream.ask(lambda message_id: message_id.to_bytes(2, "big") + query, timeout_s)
    except (NeverSent, MaybeReceived):
        return False
    return True
