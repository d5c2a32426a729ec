"""The sockets of `http.listen`: which families an address covers, and what is said where it cannot be had."""

import errno
import socket
from contextlib import ExitStack

import pytest

from enactord.core.errors import ConfigError
from enactord.http.sockets import explain, open_sockets
from enactord.wire.address import Address
from tests.servers.dns_server import free_port

pytestmark = pytest.mark.real_time

V4, V6 = "127.0.0.1", "::1"
SHORT_S = 2.0


def answers(host: str, port: int) -> bool:
    """Whether somebody listens at a host and port."""
    try:
        socket.create_connection((host, port), SHORT_S).close()
    except OSError:
        return False
    return True


async def families(*hosts: str) -> tuple[bool, bool]:
    """Return whether IPv4 and IPv6 are answered where these hosts are listened on."""
    port = free_port()
    with ExitStack() as stack:
        for opened in await open_sockets([Address(host=host, port=port) for host in hosts]):
            stack.enter_context(opened)
        return answers(V4, port), answers(V6, port)


@pytest.mark.parametrize(
    ("hosts", "covered"),
    [
        (["::"], (True, True)),
        (["0:0:0:0:0:0:0:0"], (True, True)),
        (["0.0.0.0"], (True, False)),
        (["0.0.0.0", "::"], (True, True)),
        (["::", "0.0.0.0"], (True, True)),
        (["::", V4], (True, True)),
        ([V6], (False, True)),
        ([V4, V6], (True, True)),
    ],
)
async def test_an_address_covers_its_family_and_the_wildcard_of_ipv6_both(
    hosts: list[str], covered: tuple[bool, bool]
) -> None:
    """`[::]` answers IPv4, too, whatever the machine's net.ipv6.bindv6only says; a list covers what it names."""
    assert await families(*hosts) == covered


async def test_a_port_in_use_is_said_with_the_key_and_nothing_stays_open() -> None:
    """Every address that cannot be had is named at once; the ones that could are let go."""
    free, (taken, other) = free_port(), (free_port(), free_port())
    with socket.create_server((V4, taken)), socket.create_server((V4, other)), pytest.raises(ConfigError) as caught:
        await open_sockets([Address(host=V4, port=port) for port in (free, taken, other)])
    assert [problem.partition(" is in use")[0] for problem in caught.value.problems] == [
        f"http.listen: {V4}:{taken}: port {taken}",
        f"http.listen: {V4}:{other}: port {other}",
    ]
    assert not answers(V4, free)


async def test_an_address_of_another_machine_is_said() -> None:
    """The message names the key, the address and its family."""
    with pytest.raises(ConfigError, match=r"http\.listen: 192\.0\.2\.1:8451: this machine does not have this IPv4"):
        await open_sockets([Address(host="192.0.2.1", port=8451)])


@pytest.mark.parametrize(
    ("host", "family", "told"),
    [
        ("::", socket.AF_INET6, "this machine has no IPv6; take 0.0.0.0:8451 for IPv4"),
        ("::1", socket.AF_INET6, "this machine has no IPv6"),
        ("127.0.0.1", socket.AF_INET, "this machine has no IPv4"),
    ],
)
def test_a_family_that_the_machine_lacks_is_said(host: str, family: int, told: str) -> None:
    """The message says which family, and for the wildcard what to take instead."""
    error = OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
    assert explain(error, family, Address(host=host, port=8451)) == told
