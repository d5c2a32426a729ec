"""The sockets that HTTP is served on: which families an address covers, and why it cannot be had."""

import asyncio
import errno
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from enactord.core.errors import ConfigError
from enactord.wire.address import Address

ANY_V6 = "::"
BACKLOG = 128
_LOOK_UP_S = 5.0
Place = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_FAMILY_MISSING = frozenset({errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
_NAMES: Mapping[int, str] = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}


async def open_sockets(addresses: Sequence[Address]) -> list[socket.socket]:
    """Return listening sockets for every address; a host name gives one for each address that it has.

    `[::]` covers IPv4, too, unless the same port is listed with an IPv4 address of its own.
    Raises `ConfigError` with every address that cannot be had; then no socket stays open.
    """
    problems: list[str] = []
    with ExitStack() as stack:
        opened: list[socket.socket] = []
        for address in addresses:
            try:
                found = await _look_up(address)
            except OSError as error:
                problems.append(f"http.listen: {address}: the host is not known: {error.strerror or error}")
                continue
            v4_apart = any(other.port == address.port and ":" not in other.host for other in addresses)
            for family, place in found:
                try:
                    opened.append(
                        stack.enter_context(_listening(family, place, dual=place[0] == ANY_V6 and not v4_apart))
                    )
                except OSError as error:
                    problems.append(f"http.listen: {address}: {explain(error, family, address)}")
        if problems:
            raise ConfigError(tuple(dict.fromkeys(problems)))
        stack.pop_all()
        return opened


async def _look_up(address: Address) -> list[tuple[int, Place]]:
    """Return family and place of each address of a host. Raises OSError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_LOOK_UP_S):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except TimeoutError as error:
        raise OSError(f"no answer within {_LOOK_UP_S:g} s") from error
    return list(dict.fromkeys((family, place) for family, _, _, _, place in found))


def _listening(family: int, place: Place, *, dual: bool) -> socket.socket:
    """Return a listening socket; `dual`: one of IPv6 that takes IPv4, too. Raises OSError."""
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Said in any case: what holds without is a setting of the machine (net.ipv6.bindv6only).
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        opened.setblocking(False)
        opened.bind(place)
        opened.listen(BACKLOG)  # where a port is taken, some systems say so only here
    except BaseException:
        opened.close()
        raise
    return opened


def explain(error: OSError, family: int, address: Address) -> str:
    """Say why an address cannot be had, and what to do."""
    name = _NAMES.get(family, "this kind of address")
    if error.errno in _FAMILY_MISSING:
        instead = f"; take 0.0.0.0:{address.port} for IPv4" if address.host == ANY_V6 else ""
        return f"this machine has no {name}{instead}"
    if error.errno == errno.EADDRINUSE:
        return f"port {address.port} is in use; stop the other program, or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine does not have this {name} address"
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {address.port}; choose one of 1024 or above"
    return error.strerror or str(error)
