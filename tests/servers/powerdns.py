"""PowerDNS for tests."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import dns.zone
import pytest

from tests.servers.dns_server import DnsServer

_SCHEMAS = (
    Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"),
    Path("/usr/share/doc/pdns-backend-sqlite3/schema.sqlite3.sql"),
)
_PERMISSIONS = (
    ("ALLOW-DNSUPDATE-FROM", "127.0.0.0/8"),
    ("TSIG-ALLOW-DNSUPDATE", "enactor"),
    ("TSIG-ALLOW-DNSUPDATE", "foreign"),
    ("TSIG-ALLOW-AXFR", "enactor"),
)
"""For updates both are asked: an address that may send them, and one of these keys."""


class PowerDns(DnsServer):
    """pdns_server with its zones in SQLite; both keys may update every zone, whatever the type.

    PowerDNS can limit a key to types by a Lua policy alone, and that drops the records it
    does not permit and carries out the rest.
    """

    program = "pdns_server"
    template = "pdns.conf"

    def __init__(self, zones: Sequence[str]) -> None:
        super().__init__(zones)
        self._fill()

    def command(self, path: str) -> list[str]:
        return [path, f"--config-dir={self.dir}"]

    def zone_stanza(self, zone: str) -> str:
        return ""

    def _fill(self) -> None:
        """Make the database: keys, zones, and what each zone holds at first."""
        schema = next((path for path in _SCHEMAS if path.exists()), None)
        if schema is None:
            pytest.fail("the schema of pdns-backend-sqlite3 is not installed: run `make setup`")
        with closing(sqlite3.connect(self.dir / "pdns.sqlite3")) as database, database:
            database.executescript(schema.read_text())
            for key, secret in (("enactor", self.secret), ("foreign", self.foreign_secret)):
                database.execute(
                    "INSERT INTO tsigkeys (name, algorithm, secret) VALUES (?, 'hmac-sha256', ?)", (key, secret)
                )
            for number, zone in enumerate(self.zones, 1):
                database.execute(
                    "INSERT INTO domains (id, name, type) VALUES (?, ?, 'NATIVE')", (number, zone.rstrip("."))
                )
                database.executemany(
                    "INSERT INTO domainmetadata (domain_id, kind, content) VALUES (?, ?, ?)",
                    [(number, kind, content) for kind, content in _PERMISSIONS],
                )
                content = dns.zone.from_file(self.dir / f"{zone}zone", zone, relativize=False)
                database.executemany(
                    "INSERT INTO records (domain_id, name, type, content, ttl, auth) VALUES (?, ?, ?, ?, ?, 1)",
                    [
                        (number, name.to_text(omit_final_dot=True), rdata.rdtype.name, rdata.to_text(), ttl)
                        for name, ttl, rdata in content.iterate_rdatas()
                    ],
                )
