"""A host and a port, and the text of both."""

import re
import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host (a name or a literal address) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(value: str) -> Address | None:
    """Return the address that a text names; None where it is none."""
    match = re.match(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]\s]+)):(?P<port>\d{1,5})\Z", value)
    if match is None or not 0 < int(match["port"]) < 65_536 or not _is_host(match["v6"], match["host"]):
        return None
    return Address(host=match["v6"] or match["host"], port=int(match["port"]))


def _is_host(v6: str | None, host: str) -> bool:
    """Whether a host can be looked up at all: else the first connection to it fails as no network does."""
    try:
        return bool(socket.inet_pton(socket.AF_INET6, v6) if v6 else host.encode("idna") and host.isprintable())
    except (OSError, UnicodeError):
        return False
