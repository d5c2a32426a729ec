"""Servers that are not what a zone's `server` should be: secondaries of another one; and a BIND that can be frozen."""

import subprocess
import time
from collections.abc import Sequence

import dns.message
import dns.query
import dns.rdatatype

from tests.servers.bind import Bind
from tests.servers.dns_server import FOREIGN_SECRET, DnsServer, free_port
from tests.servers.knot import Knot

_READY_LIMIT_S = 20.0


class ControlledBind(Bind):
    """named that `rndc` can talk to."""

    def _write_config(self) -> None:
        super()._write_config()
        self._control = free_port()
        path = self.dir / self.template
        controls = f'controls {{ inet 127.0.0.1 port {self._control} allow {{ any; }} keys {{ "foreign"; }}; }};'
        text = path.read_text()
        assert text.count("controls { };") == 1
        path.write_text(text.replace("controls { };", controls))
        key = f'key "foreign" {{ algorithm hmac-sha256; secret "{FOREIGN_SECRET}"; }};\n'
        (self.dir / "rndc.key").write_text(key)

    def rndc(self, *words: str) -> None:
        where = ("-s", "127.0.0.1", "-p", str(self._control), "-k", str(self.dir / "rndc.key"))
        subprocess.run(["rndc", *where, *words], check=True, capture_output=True, timeout=20)


class ListedBind(Bind):
    """named whose zones only the key "foreign" may update, by `allow-update`."""

    def zone_stanza(self, zone: str) -> str:
        return f'zone "{zone}" {{ type primary; file "{zone}zone"; allow-update {{ key foreign; }}; }};'


class MovableBind(ControlledBind):
    """named whose zones are its own, or copies of another server's: `become` makes it the one or the other."""

    def __init__(self, zones: Sequence[str], primary: DnsServer | None = None) -> None:
        """`primary`: the server whose zones it copies; None: it is the primary itself."""
        self.primary = primary
        super().__init__(zones)

    def zone_stanza(self, zone: str) -> str:
        kind = "type primary; update-policy { grant enactor zonesub A AAAA TXT; grant foreign zonesub ANY; };"
        if self.primary is not None:
            kind = f"type secondary; primaries {{ 127.0.0.1 port {self.primary.port} key enactor; }};"
        return f'zone "{zone}" {{ {kind} file "{zone}zone"; masterfile-format text; }};'

    def become(self, primary: DnsServer | None) -> None:
        """Change its duty, with what it holds: stop, write another config, start."""
        self.rndc("sync", "-clean")
        self.stop()
        path = self.dir / self.template
        text = path.read_text()
        before = [self.zone_stanza(zone) for zone in self.zones]
        self.primary = primary
        for zone, stanza in zip(self.zones, before, strict=True):
            assert text.count(stanza) == 1
            text = text.replace(stanza, self.zone_stanza(zone))
        path.write_text(text)
        self.start()


class SecondaryKnot(Knot):
    """knotd with zones that it transfers from another server; it lets the keys ask, and no key update."""

    def __init__(self, zones: Sequence[str], primary: DnsServer) -> None:
        self.primary = primary
        super().__init__(zones)

    def zone_stanza(self, zone: str) -> str:
        return f'  - domain: "{zone}"\n    file: "{zone}copy"\n    master: primary'

    def _write_config(self) -> None:
        super()._write_config()
        path = self.dir / self.template
        remote = f"remote:\n  - id: primary\n    address: 127.0.0.1@{self.primary.port}\n    key: enactor\nacl:\n"
        text = path.read_text().replace("acl:\n", remote, 1)
        text = text.replace("    zonefile-load: whole\n    journal-content: changes\n", "")
        path.write_text(
            text.replace("    acl: [enactor, foreign]\n", "    acl: reader\n").replace(
                "acl:\n", "acl:\n  - id: reader\n    key: [enactor, foreign]\n    action: query\n", 1
            )
        )


def serial(server: DnsServer, zone: str) -> int:
    answer = dns.query.tcp(dns.message.make_query(zone, "SOA"), server.host, timeout=5, port=server.port)
    (rdata,) = (rdata for rrset in answer.answer for rdata in rrset if rdata.rdtype == dns.rdatatype.SOA)
    return int(rdata.serial)


def wait_copied(secondary: ControlledBind, primary: DnsServer, zone: str) -> None:
    """Wait until a secondary has what its primary has."""
    deadline = time.monotonic() + _READY_LIMIT_S
    while serial(secondary, zone) != serial(primary, zone):
        secondary.rndc("refresh", zone)
        assert time.monotonic() < deadline, "the secondary does not follow"
        time.sleep(0.1)
