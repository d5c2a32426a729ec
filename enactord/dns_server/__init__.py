"""An authoritative DNS server inside the process: nothing to install, and the same protocol as the big ones."""

from enactord.dns_server.server import EmbeddedServer, Key, PortInUse

__all__ = ["EmbeddedServer", "Key", "PortInUse"]
