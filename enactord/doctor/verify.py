"""Whether each verify server answers, and has what the primary has."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from enactord.backends.backend import ZoneConfig
from enactord.backends.readers.bulk import BulkReader
from enactord.backends.rfc2136.signed_soa import Soa, behind, soa_of
from enactord.core.errors import ZoneDown
from enactord.core.fence import FenceSeen, parse_fence
from enactord.core.names import fence_name
from enactord.doctor.check import Check, Group, State
from enactord.wire.address import Address
from enactord.wire.answer import TYPE_SOA, TYPE_TXT

_LAG_MAX_S = 5.0
"""So long a server may need to follow what was written at this moment."""
_AGAIN_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """What the primary showed: its SOA serial, and what stands at the fence's name."""

    serial: int
    fence: FenceSeen


async def check_verify(zone: ZoneConfig, primary: Primary | None) -> Sequence[Check]:
    """Ask the verify servers that are none of the zone's own; without `primary` there is nothing to compare with."""
    own = zone.own_servers
    others = [server for server in zone.verify if server not in own]
    return await asyncio.gather(*(_check(zone, server, primary) for server in others))


async def _check(zone: ZoneConfig, server: Address, primary: Primary | None) -> Check:
    reader = BulkReader(server.host, server.port, timeout_s=zone.timeout_s, zone=zone.name)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(_LAG_MAX_S, zone.verify_timeout_s)
    try:
        while True:
            soa, fence = await _ask(reader, zone.name)
            lag = "" if primary is None else _lag(primary, soa, fence)
            if not lag or loop.time() >= deadline:
                break
            await asyncio.sleep(_AGAIN_S)
    except ZoneDown as error:
        fix = (
            f"dig @{server.host} -p {server.port} {zone.name} SOA +norecurse; start the server, let this machine ask"
            f" without a key, or take it out of zone[{zone.name}].verify"
        )
        return _told(zone, server, State.FAULT, f"no answer: {error}", fix)
    finally:
        await reader.close()
    if lag:
        fix = (
            "look at the transfers from the primary to it (BIND: also-notify, rndc retransfer; Knot: knotc"
            f" zone-refresh {zone.name}); until then every write waits for it, and counts as not verified"
        )
        return _told(zone, server, State.FAULT, lag, fix)
    compared = "as the primary has it" if primary is not None else "not compared with the primary"
    return _told(zone, server, State.OK, f"serial {soa.serial}, fence {_generation(fence)}; {compared}")


async def _ask(reader: BulkReader, zone: str) -> tuple[Soa, FenceSeen]:
    """Return serial and fence as a client of the server sees them. Raises `ZoneDown`."""
    soa = soa_of(await reader.ask(zone, TYPE_SOA))
    if soa is None:
        raise ZoneDown(f"an answer without an SOA of {zone}")
    return soa, (await reader.ask(fence_name(zone), TYPE_TXT)).rdatas


def _lag(primary: Primary, soa: Soa, fence: FenceSeen) -> str:
    """Return how a server is behind; "" where it is not. A fence that is as the primary's, or newer, is no lag."""
    there, here = parse_fence(fence), parse_fence(primary.fence)
    newer = there is not None and here is not None and there.generation >= here.generation
    if fence != primary.fence and not newer:
        return f"it is behind: its fence is {_generation(fence)}, and the primary's {_generation(primary.fence)}"
    if behind(soa.serial, primary.serial):
        return f"it is behind: its serial is {soa.serial}, and the primary's {primary.serial}"
    return ""


def _generation(seen: FenceSeen) -> str:
    found = parse_fence(seen)
    return str(found.generation) if found is not None else "garbage" if seen else "absent"


def _told(zone: ZoneConfig, server: Address, state: State, seen: str, fix: str = "") -> Check:
    return Check(group=Group.VERIFY, subject=f"{zone.name} at {server}", state=state, seen=seen, fix=fix)
