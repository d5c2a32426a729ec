"""The config of one zone: which backend writes it, with what, and which keys that backend takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enactord.config.tsig_file import KeyFile, NoKey, parse_algorithm, parse_key_file, same_name
from enactord.core.errors import InvalidName
from enactord.core.names import fence_name, parse_name, wire_name
from enactord.core.render import ANSWERS_MAX, ANSWERS_MAX_LIMIT, WEIGHTED
from enactord.wire.names import MAX_NAME_BYTES, text_to_wire

if TYPE_CHECKING:
    from enactord.config.table import Table

BACKENDS = ("rfc2136", "skydns", "route53", "embedded")

_OVER_DNS = ("server", "tsig_name", "tsig_algorithm", "tsig_secret_file", "in_flight_max")
_OWN_KEYS = {
    "rfc2136": _OVER_DNS,
    "embedded": _OVER_DNS,
    "skydns": ("skydns_path", "in_flight_max"),
    "route53": ("hosted_zone_id", "endpoint_url", "requests_per_s"),
}
"""Keys that not every backend takes."""
_SHARED = ("endpoint_url", "requests_per_s", "timeout_s")
"""Keys that all route53 zones must agree in: they are one account's, behind one client."""
_ANSWERS_MAX = {"skydns": 50}
"""Where it is less than for others: a name with as many A as AAAA must fit one transaction of etcd."""
_BATCH_NAMES = {"skydns": 10}
_IN_FLIGHT = {"route53": 2}
_VERIFY_TIMEOUT_S = {"route53": 90.0}
_FENCE_REQUESTS_RATIO = 0.2
"""What part of the requests to Route 53 may ask for fences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host (a name or a literal address) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneConfig:
    """One [[zone]]."""

    name: str
    """The zone; endpoints belong to the zone with the longest matching name."""
    backend: str
    """How the zone is written."""
    server: tuple[Address, ...]
    """rfc2136: the primary server that takes updates, or a list of servers that may be it. The next one is used once
    the one before says that it is not the primary, never because it is silent; all enactors name the same servers.
    embedded: where it listens (127.0.0.1:5354)."""
    tsig_name: str = ""
    """rfc2136: name of the key that signs updates and questions to `server`; tsig_secret_file may tell it instead."""
    tsig_algorithm: str = "hmac-sha256"
    """rfc2136: algorithm of that key; may be left out where tsig_secret_file tells it."""
    tsig_secret: bytes = field(default=b"", repr=False)
    """rfc2136: file of the key, as tsig-keygen or keymgr -t print it, or its secret alone in base64."""
    skydns_path: str = "/skydns"
    """skydns: where CoreDNS's etcd plugin looks (its `path`); the records stand in the etcd of `store.url`."""
    hosted_zone_id: str = ""
    """route53: the hosted zone's id; credentials come as any AWS program gets them."""
    endpoint_url: str = ""
    """route53: another endpoint than AWS's own; the same for all zones."""
    requests_per_s: float = 3.0
    """route53: requests of this enactor to the account, which has 10 a second for all; the same for all zones."""
    batch_names_max: int = 50
    """Names of one message (skydns: 10). BIND does best with 20 to 25, Knot with 50 to 100."""
    in_flight_max: int = 16
    """Messages under way at once; the pace adapts below it. Route 53 takes one at a time."""
    timeout_s: float = 5.0
    """Longest wait for one answer of a DNS server, or of Route 53."""
    verify: tuple[Address, ...] = ()
    """Authoritative servers that are asked after each write; without it, what was written to."""
    verify_timeout_s: float = 3.0
    """How long a written name may take to be seen there (route53: 90)."""
    answers_max: int = ANSWERS_MAX
    """Addresses that one name is served with at most, of each family; of more targets a weighted sample is drawn.
    Not for route53, which serves all of them (up to 100) by weight."""

    @property
    def first_server(self) -> Address:
        """The server that is tried first."""
        return self.server[0]

    @property
    def verify_servers(self) -> tuple[Address, ...]:
        """The DNS servers that are asked after a write: by default the one that was written to, if it was one."""
        return self.verify or (self.server[:1] if self.backend in ("rfc2136", "embedded") else ())

    @property
    def asked_server(self) -> str:
        """What answers questions for the fence: a DNS server, the store's etcd, or the account of Route 53."""
        over_dns = self.backend in ("rfc2136", "embedded")
        return ", ".join(sorted(str(server) for server in self.server)) if over_dns else self.backend

    @property
    def primaries(self) -> tuple[str, ...]:
        """The servers that may be the zone's primary, as its fence record names them."""
        return tuple(str(server) for server in self.server) if self.backend == "rfc2136" else ()

    @property
    def fence_questions_per_s(self) -> float | None:
        """A bound of its own on those questions: of the requests to Route 53, most are left for plans."""
        return self.requests_per_s * _FENCE_REQUESTS_RATIO if self.backend == "route53" else None


def read_zone(table: "Table", *, for_daemon: bool, before: Sequence[ZoneConfig]) -> ZoneConfig:
    """Read one [[zone]] after those before it; problems are the table's."""
    name = table.text("name", "", required=True)
    try:
        name = parse_name(name) if name else name
        if name and len(wire_name(fence_name(name))) > MAX_NAME_BYTES:
            most = MAX_NAME_BYTES - len(fence_name("")) - 1  # its final dot included
            told = f"too long: {fence_name('')} before it names its fence, and so it may have {most} characters"
            table.problem("name", told)
    except InvalidName as error:
        table.problem("name", str(error))
    if any(zone.name == name for zone in before):
        table.problem("name", f"{name} is there twice; remove one of the two [[zone]]")
    backend = table.text("backend", "", required=True, choices=BACKENDS)
    _check_backend(table, backend)
    own_server = backend in ("embedded", "skydns", "route53")
    needs_key = for_daemon and not own_server
    key = _read_key(table, required=needs_key)
    answers_max = table.integer("answers_max", ANSWERS_MAX, low=1, high=_ANSWERS_MAX.get(backend, ANSWERS_MAX_LIMIT))
    zone = ZoneConfig(
        name=name,
        backend=backend,
        server=_read_servers(table, backend, required=not own_server),
        tsig_name=key.name,
        tsig_algorithm=key.algorithm,
        tsig_secret=key.secret,
        skydns_path=table.text("skydns_path", "/skydns", check=_check_path),
        hosted_zone_id=table.text("hosted_zone_id", "", required=backend == "route53", check=_check_zone_id),
        endpoint_url=table.text("endpoint_url", "", check=_check_url),
        requests_per_s=table.number("requests_per_s", 3.0, low=0.1, high=10_000),
        batch_names_max=table.integer("batch_names_max", _BATCH_NAMES.get(backend, 50), low=1, high=200),
        in_flight_max=table.integer("in_flight_max", _IN_FLIGHT.get(backend, 16), low=1, high=1000),
        timeout_s=table.number("timeout_s", 5.0, low=0.1, high=300),
        verify=table.addresses("verify"),
        verify_timeout_s=table.number("verify_timeout_s", _VERIFY_TIMEOUT_S.get(backend, 3.0), low=0.1, high=600),
        answers_max=WEIGHTED if backend == "route53" else answers_max,
    )
    other = next((one for one in before if one.backend == backend == "route53"), None)
    for shared in _SHARED:
        if other is not None and getattr(other, shared) != getattr(zone, shared):
            table.problem(shared, f"must be the same as of {other.name}: all route53 zones share one client")
    if backend == "skydns" and not zone.verify:
        table.warn("verify", "without it the keys in etcd are read back, not what CoreDNS serves")
    return zone


def _read_servers(table: "Table", backend: str, *, required: bool) -> tuple[Address, ...]:
    """Return the servers that may be the zone's primary; one where the backend takes no list."""
    default = Address(host="127.0.0.1", port=5354)
    if backend == "rfc2136":
        return table.one_or_more("server", (default,), required=required)
    return (table.address("server", default, required=required),)


def _read_key(table: "Table", *, required: bool) -> KeyFile:
    """Return the key that signs a zone's updates: from its file, and what the table says besides."""
    name = table.text("tsig_name", "", check=_check_key_name)
    algorithm = table.text("tsig_algorithm", "", check=_check_algorithm)
    content = table.secret("tsig_secret_file", required=required)
    read = KeyFile(secret=b"")
    if content:
        try:
            read = parse_key_file(content, name=name)
        except NoKey as error:
            table.problem("tsig_secret_file", f"{table.path('tsig_secret_file')}: {error}")
        wrong = _check_key_name(read.name)
        if wrong:
            table.problem("tsig_secret_file", f"the name of the key in it {wrong}")
    if required and not name and not read.name:
        table.problem("tsig_name", "is missing: tsig_secret_file does not tell it")
    given = _algorithm(algorithm)
    if name and read.name and not same_name(name, read.name):
        table.problem(
            "tsig_name", f"is {name!r}, but the key in tsig_secret_file is {read.name!r}; leave tsig_name out"
        )
    if given and read.algorithm and given != read.algorithm:
        told = f"is {given}, but the key in tsig_secret_file is of {read.algorithm}; leave tsig_algorithm out"
        table.problem("tsig_algorithm", told)
    return KeyFile(name=name or read.name, algorithm=given or read.algorithm or "hmac-sha256", secret=read.secret)


def repair_interval_s(zones: Sequence[ZoneConfig]) -> float:
    """Return the usual pause between two looks: of Route 53, a look at 10,000 sets takes some 100 requests."""
    return 300.0 if any(zone.backend == "route53" for zone in zones) else 30.0


def _check_backend(table: "Table", backend: str) -> None:
    """Find the keys of other backends."""
    for key in table.keys:
        takers = [one for one in BACKENDS if key in _OWN_KEYS[one]]
        if backend in BACKENDS and takers and backend not in takers:
            table.problem(key, f"is not for the backend {backend}, but for {' and '.join(takers)}; remove the line")
    if backend == "route53" and "verify" in table.keys:
        table.problem("verify", "is not for route53: it serves one of the weighted addresses at a time; leave it out")
    if backend == "route53" and "answers_max" in table.keys:
        table.problem("answers_max", "is not for route53: it serves all addresses by their weights; leave it out")


def _algorithm(value: str) -> str:
    """Return an algorithm as `tsig` has it; nothing where there is none that can be used."""
    try:
        return parse_algorithm(value) if value else ""
    except NoKey:
        return ""


def _check_algorithm(value: str) -> str:
    try:
        parse_algorithm(value)
    except NoKey as error:
        return str(error)
    return ""


def _check_key_name(value: str) -> str:
    try:
        text_to_wire(value)
    except ValueError:
        return "is no name of a key: labels of at most 63 ASCII characters, 254 in all"
    return ""


def _check_path(value: str) -> str:
    return "" if re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value) else 'must begin, but not end, with "/"'


def _check_zone_id(value: str) -> str:
    return "" if re.fullmatch(r"(/hostedzone/)?[A-Z0-9]{1,32}", value) else "must be as Route 53 shows it: Z…"


def _check_url(value: str) -> str:
    if "@" in value:  # botocore shows the address in its errors
        return "must hold no name and no password: Route 53 takes its credentials from the environment"
    return "" if re.fullmatch(r"https?://[^\s]+", value) else "must begin with http:// or https://"
