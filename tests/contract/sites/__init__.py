"""The zones that the suite of zones runs over: of each backend, on each server that it is promised for.

A backend's own are `KINDS` of the module here that has its name. A backend without that module fails the suite.
"""

from collections.abc import Mapping
from importlib import import_module

from enactord.backends import ALL
from tests.contract.sites.base import Kind

MEMORY = "memory"
BACKENDS: Mapping[str, tuple[Kind, ...]] = {
    name: import_module(f"tests.contract.sites.{name}").KINDS for name in (MEMORY, *ALL)
}
EVERY: Mapping[str, Kind] = {kind.name: kind for kinds in BACKENDS.values() for kind in kinds}
"""Each kind of server by its name."""


def names(*, rfc2136: bool = False, fence_in_zone: bool = False, cut: str = "") -> list[str]:
    """Return the kinds of servers that can do all of this: by the backend's capabilities, or by their own."""
    found = []
    for backend, kinds in BACKENDS.items():
        can = ALL[backend].can if backend in ALL else None
        if (rfc2136 and not (can and can.rfc2136)) or (fence_in_zone and can and not can.fence_in_zone):
            continue
        found += [kind.name for kind in kinds if not cut or cut in kind.cuts]
    return found
