"""The tables of the config: each key with the values that it takes, its default and its meaning."""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enactord.backends.backend import Access, ZoneConfig
from enactord.config.files import Source
from enactord.config.table import SECRET_BYTES_MAX as SECRET_BYTES_MAX
from enactord.config.table import shown
from enactord.config.zone import zone_keys
from enactord.core.guards import Limits
from enactord.core.guards.kinds import VELOCITY_WINDOW
from enactord.core.names import check_id
from enactord.core.plan import PLAN_BYTES_MAX
from enactord.core.retention import Keep
from enactord.core.settings import (
    Addresses,
    Choice,
    Declared,
    File,
    Flag,
    Holds,
    PairFile,
    Place,
    Texts,
    declare,
    declared,
    integer,
    number,
    text,
)
from enactord.core.tokens import Token, Tokens
from enactord.engine.settings import Settings, ZoneSettings
from enactord.store.keys import valid_scope
from enactord.wire.address import Address
from enactord.wire.tls import Tls

LISTEN = Address(host="127.0.0.1", port=8451)
LEVELS = ("debug", "info", "warning", "error")


def _parse_id(value: str) -> str:
    """Return an enactor's id, in which %H stands for this machine's name (in Kubernetes: the pod's)."""
    name = value.replace("%H", socket.gethostname())
    wrong = check_id(name) if name else ""
    if wrong:
        raise ValueError(wrong)
    return name


def _parse_scope(value: str) -> str:
    if not valid_scope(value):
        raise ValueError("must be 1 to 63 of a-z, 0-9, '.', '_' and '-'")
    return value


def _parse_store_url(value: str) -> str:
    # Not shown: it would stand in logs and in /readyz.
    if re.search(r"@|.\?", value) and not value.startswith("sqlite:///"):
        raise ValueError("must hold no name and no password: set store.username and store.password_file")
    if value and not re.match(r"etcd://[^/]+/?\Z|sqlite:///.+", value):
        raise ValueError(f"{shown(value)} must be etcd://host:2379,host:2379 or sqlite:///absolute/path")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class EnactorConfig:
    """Table [enactor]: who this is, and where it keeps its copy for the time that the store is away."""

    id: str = text(
        parse=_parse_id,
        takes="1 to 63 letters, digits, '.', '_' or '-'",
        required=True,
        for_daemon=True,
        meaning="""Name of this enactor, unique in its scope. %H in it stands for the machine's name (in Kubernetes: the
        pod's name).""",
    )
    scope: str = text(
        parse=_parse_scope,
        takes="1 to 63 of a-z, 0-9, '.', '_' and '-'",
        required=True,
        meaning="Name of the scope: the plans, the enactors and the zones that belong together.",
    )
    state_dir: Path = declare(
        Place(),
        Path("/var/lib/enactord"),
        """Folder for the local copy, from which repair works while the store is away. The embedded server keeps its
        zones here, too.""",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Table [store]."""

    url: str = text(
        parse=_parse_store_url,
        takes="etcd://host:2379,host:2379 or sqlite:///absolute/path",
        required=True,
        meaning="""The plan store. Give its hosts by address: then enactord never depends on a name that it manages
        itself.""",
    )
    ca: bytes = declare(
        File(Holds.AUTHORITIES),
        b"",
        "File of the authorities that the store's certificate must come from. With this key, TLS is used.",
        name="ca_file",
        secret=True,
        reload=True,
    )
    cert: bytes = declare(
        PairFile(("cert_file", "key_file")),
        b"",
        "File of the client certificate, where the store asks for a certificate. Needs key_file.",
        name="cert_file",
        secret=True,
        reload=True,
    )
    key: bytes = declare(
        PairFile(("cert_file", "key_file")),
        b"",
        "File of the client certificate's key.",
        name="key_file",
        secret=True,
        reload=True,
    )
    username: str = text(meaning="User name, where the store asks for a name and a password.")
    password: bytes = declare(
        File(Holds.SECRET),
        b"",
        "File of the password for that user name.",
        name="password_file",
        secret=True,
        reload=True,
    )
    timeout_s: float = number(5.0, low=0.1, high=120, meaning="Time limit for one answer of the store.")
    claim_ttl_s: int = integer(10, low=2, high=3600, meaning="Time after which the claim of a silent enactor expires.")

    @property
    def access(self) -> Access:
        """How the store is reached now."""
        return Access(
            tls=Tls(ca=self.ca, cert=self.cert, key=self.key), password=self.password.decode("utf-8", "replace")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneConfig:
    """Table [prune]."""

    keep_plans: int = integer(
        20, low=0, high=100_000, reload=True, meaning="Number of newest plans that are always kept; 0 is safe."
    )
    keep_s: float = number(
        86_400.0,
        low=0,
        high=86_400 * 365,
        reload=True,
        meaning="""Age up to which one plan an hour is kept for a rollback; of the last hour, one plan a minute. 0: none
        is kept for that. The plans of the guards' velocity_window_s are always kept.""",
    )
    interval_s: float = number(60.0, low=0.1, high=86_400, reload=True, meaning="Time between two prunings.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairConfig:
    """Table [repair]."""

    interval_s: float = number(
        30.0,
        low=0.1,
        high=86_400,
        reload=True,
        meaning="""Time between two scans of a zone, in which every name is compared with what it should serve. With a
        route53 zone the default is 300: Route 53 limits requests.""",
    )
    names_per_s: float = number(
        500.0, low=1, high=1_000_000, reload=True, meaning="Most names that are asked for in a second during a scan."
    )
    fence_interval_s: float = number(
        5.0,
        low=0.1,
        high=86_400,
        reload=True,
        meaning="Time between two questions for a zone's fence. A lost fence protects nothing until it is back.",
    )
    fence_questions_per_s: float = number(
        20.0,
        low=0.1,
        high=100_000,
        reload=True,
        meaning="""Most questions for fences that one server gets in a second. With many zones on a server the interval
        grows; `enactorctl status` shows it.""",
    )


_TLS_KEYS = ("tls_cert_file", "tls_key_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """Table [http]; without a certificate plain HTTP, without tokens nothing can be written through it."""

    listen: tuple[Address, ...] = declare(
        Addresses(several=True),
        (LISTEN,),
        "Addresses on which HTTP is served. `[::]:8451` serves IPv6 and IPv4, `0.0.0.0:8451` IPv4 alone.",
    )
    hosts: tuple[str, ...] = declare(
        Texts(),
        (),
        """Host names that browsers may use for the page, besides localhost, this machine's name and any address; `*`:
        all names. A request with another name and without a token is refused (421): a foreign page could be behind
        it.""",
    )
    tokens: Tokens = declare(
        File(Holds.TOKENS),
        Tokens(),
        """File of the bearer tokens, a line each with name, role and hash: `enactorctl token` makes and changes it.
        Without it and token_file nothing can be written over HTTP.""",
        name="tokens_file",
        secret=True,
        reload=True,
    )
    token: Token | None = declare(
        File(Holds.GIVEN_TOKEN),
        None,
        """File of one token in clear, made by another program (a Kubernetes secret, a secret store). It has the name
        planner and the role planner: its bearer may publish, and no more.""",
        name="token_file",
        secret=True,
        reload=True,
    )
    read_needs_token: bool = declare(
        Flag(),
        False,
        """Whether reading needs a token, too, of any role. Then `/healthz` alone is open, and of `/readyz` the
        status and the process.""",
        reload=True,
    )
    tls_cert: bytes = declare(
        PairFile(_TLS_KEYS),
        b"",
        "File of the certificate. With this key, HTTPS is served. Needs tls_key_file.",
        name="tls_cert_file",
        secret=True,
        reload=True,
    )
    tls_key: bytes = declare(
        PairFile(_TLS_KEYS), b"", "File of that certificate's key.", name="tls_key_file", secret=True, reload=True
    )
    connections_max: int = integer(256, low=8, high=65_536, meaning="Most connections that are open at once.")
    events_clients_max: int = integer(
        32, low=1, high=4096, meaning="Most clients that follow the stream of events at once."
    )
    requests_per_s: float = number(
        200.0,
        low=1,
        high=1_000_000,
        meaning="""Request rate allowed for one client address; bursts may be twice as large. With a wrong token, one
        fiftieth of it.""",
    )
    request_timeout_s: float = number(30.0, low=1, high=600, meaning="Time limit for one request.")
    plan_bytes_max: int = integer(
        PLAN_BYTES_MAX, low=1024, high=PLAN_BYTES_MAX, meaning="Size limit of a plan over HTTP, in bytes."
    )

    @property
    def bearers(self) -> Tokens:
        """All tokens that open something."""
        return Tokens((*self.tokens.all, *([self.token] if self.token else [])))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Table [log]; `format` "": JSON off a terminal."""

    level: str = declare(Choice(LEVELS), "info", "Lowest severity that is logged.", reload=True)
    format: str = declare(
        Choice(("json", "console")),
        "",
        "Form of the log. By default: console on a terminal, JSON elsewhere.",
        reload=True,
    )


TABLES: Mapping[str, type[Any]] = {
    "enactor": EnactorConfig,
    "store": StoreConfig,
    "guard": Limits,
    "prune": PruneConfig,
    "repair": RepairConfig,
    "http": HttpConfig,
    "log": LogConfig,
}
"""The tables, each with the class that declares its keys; of [[zone]], the zone's backend does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole config that has been checked; `warnings` are what works but should be mended.

    `source` is what it was read from.
    """

    enactor: EnactorConfig
    store: StoreConfig
    zones: tuple[ZoneConfig, ...]
    guard: Limits
    prune: PruneConfig
    repair: RepairConfig
    http: HttpConfig
    log: LogConfig
    warnings: tuple[str, ...] = ()
    source: Source

    @property
    def settings(self) -> Settings:
        """What the engine is told."""
        return Settings(
            id=self.enactor.id,
            scope=self.enactor.scope,
            zones=[
                ZoneSettings(
                    name=zone.name,
                    answers_max=zone.answers_max,
                    batch_names_max=zone.batch_names_max,
                    in_flight_max=zone.in_flight_max,
                    verify_timeout_s=zone.verify_timeout_s,
                    server=zone.asked_server,
                    primaries=zone.primaries,
                    fence_questions_per_s=zone.fence_questions_per_s,
                )
                for zone in self.zones
            ],
            limits=self.guard,
            claim_ttl_s=self.store.claim_ttl_s,
            keep=Keep(plans=self.prune.keep_plans, window_s=self.guard[VELOCITY_WINDOW], history_s=self.prune.keep_s),
            prune_interval_s=self.prune.interval_s,
            repair_interval_s=self.repair.interval_s,
            repair_names_per_s=self.repair.names_per_s,
            fence_interval_s=self.repair.fence_interval_s,
            fence_questions_per_s=self.repair.fence_questions_per_s,
        )


TABLE_ORDER = ("enactor", "store", "zone", "guard", "prune", "repair", "http", "log")


def keys_of(table: str) -> tuple[Declared, ...]:
    """Return the keys of a table of the config, in the order in which people are told of them."""
    return zone_keys() if table == "zone" else declared(TABLES[table])
