"""The backend scratch: its zones are those in memory."""

from tests.contract.sites.base import Kind, Servers, Site
from tests.contract.sites.memory import MemorySite


async def _open(zone: str, servers: Servers) -> Site:
    return MemorySite(zone)


async def _own(zone: str) -> Site:
    return MemorySite(zone)


KINDS = (Kind(name="scratch", open=_open, own=_own, cuts=frozenset({"NS", "DNAME"})),)
