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


class PrivateBind(Bind):
    """named answers questions only when the key "enactor" or "foreign" signs them."""

    signed_only = True

    def zone_stanza(self, zone: str) -> str:
        allowed = "allow-query { key enactor; key foreign; };"
        return super().zone_stanza(zone).replace("type primary;", f"type primary; {allowed}", 1)


class ViewsBind(Bind):
    """named shows the zones that the keys may change to those who sign, and zones of the same names to all others."""

    def _write_config(self) -> None:
        super()._write_config()
        path = self.dir / self.template
        text = path.read_text()
        inner = "\n".join(self.zone_stanza(zone) for zone in self.zones)
        assert text.count(inner) == 1
        outer = "\n".join(f'zone "{zone}" {{ type primary; file "outer-{zone}zone"; }};' for zone in self.zones)
        for zone in self.zones:
            (self.dir / f"outer-{zone}zone").write_text((self.dir / f"{zone}zone").read_text())
        views = (
            f'view "inner" {{ match-clients {{ key enactor; key foreign; }}; {inner} }};\n'
            f'view "outer" {{ match-clients {{ any; }}; {outer} }};'
        )
        path.write_text(text.replace(inner, views))
