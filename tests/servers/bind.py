"""BIND 9 for tests."""

from tests.servers.dns_server import DnsServer


class Bind(DnsServer):
    """named, with an update policy limited by type, as production should have."""

    program = "named"
    template = "named.conf"

    def command(self, path: str) -> list[str]:
        return [path, "-4", "-f", "-n", "2", "-c", self.template]

    def zone_stanza(self, zone: str) -> str:
        return (
            f'zone "{zone}" {{ type primary; file "{zone}zone"; '
            "update-policy { grant enactor zonesub A AAAA TXT; grant foreign zonesub ANY; }; };"
        )
