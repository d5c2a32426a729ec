"""Knot DNS for tests."""

from tests.servers.dns_server import DnsServer


class Knot(DnsServer):
    """knotd, set up so that what UPDATE wrote outlives a restart."""

    program = "knotd"
    template = "knot.conf"

    def command(self, path: str) -> list[str]:
        return [path, "-c", self.template]

    def zone_stanza(self, zone: str) -> str:
        return f'  - domain: "{zone}"\n    file: "{zone}zone"'

    def start(self) -> None:
        (self.dir / "knot.pid").unlink(missing_ok=True)  # left by a kill; knotd would not start beside it
        super().start()
