"""The config: TOML read into values, every problem found at once, with its line and what to do."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from enactord.config.files import FileReader, FileUse, Source, read_bounded
from enactord.config.table import SECRET_BYTES_MAX as SECRET_BYTES_MAX
from enactord.config.table import Table, check_scope, cut, nearest, shown
from enactord.config.zone import BACKENDS as BACKENDS
from enactord.config.zone import Address as Address
from enactord.config.zone import ZoneConfig as ZoneConfig
from enactord.config.zone import read_zone, repair_interval_s
from enactord.core.errors import ConfigError
from enactord.core.guards import Limits
from enactord.core.guards.kinds import VELOCITY_WINDOW
from enactord.core.guards.ttl import TTL_MAX, TTL_MIN
from enactord.core.plan import PLAN_BYTES_MAX
from enactord.core.retention import Keep
from enactord.core.tokens import Token, Tokens
from enactord.engine.settings import Settings, ZoneSettings
from enactord.wire.tls import Tls

LISTEN = Address(host="127.0.0.1", port=8451)
LEVELS = ("debug", "info", "warning", "error")
CONFIG_BYTES_MAX = 128 * 1024
"""A config has some hundred lines; what is larger is another file. (Reading dotted keys takes time by their square.)"""
PROBLEMS_MAX = 100
_PROBLEM_MAX = 4096 + 200  # a path may be so long


@dataclass(frozen=True, slots=True, kw_only=True)
class EnactorConfig:
    """Table [enactor]: who this is, and where it keeps its copy for the time that the store is away."""

    id: str = ""
    """Of its own for each enactor of a scope; %H in it stands for this machine's name (in Kubernetes, the pod's)."""
    scope: str
    """The installation that it belongs to: its plans, its enactors, its zones."""
    state_dir: Path = Path("/var/lib/enactord")
    """For the local copy that repair works from while the store is away; the embedded server's zones are here too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Table [store]."""

    url: str
    """Where plans, claims and the ledger are kept; hosts best by address, so that no name it manages is needed."""
    ca: bytes = field(default=b"", repr=False)
    """Certificates that the store's is checked against; with it, TLS is used."""
    cert: bytes = field(default=b"", repr=False)
    """Own certificate, where the store asks for one. Goes together with key_file."""
    key: bytes = field(default=b"", repr=False)
    """Key of the own certificate."""
    username: str = ""
    """Where the store asks for a name and a password."""
    password: str = field(default="", repr=False)
    """File that holds the password."""
    timeout_s: float = 5.0
    """Longest wait for one answer of the store."""
    claim_ttl_s: int = 10
    """How long a claim outlives an enactor that says nothing any more."""

    @property
    def tls(self) -> Tls:
        """What is trusted, and what is shown to the store."""
        return Tls(ca=self.ca, cert=self.cert, key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneConfig:
    """Table [prune]."""

    keep_plans: int = 20
    """The newest plans that stay in any case; 0 is safe."""
    keep_s: float = 86_400.0
    """History for a rollback: one plan an hour for so long, one a minute for an hour; 0: none. Plans of the guards'
    velocity_window_s always stay."""
    interval_s: float = 60.0
    """Pause between two looks for plans that nothing can need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairConfig:
    """Table [repair]."""

    interval_s: float = 30.0
    """Pause between two looks at all that is served (300 where a zone is Route 53's, which counts requests)."""
    names_per_s: float = 500.0
    """Bound on the questions of such a look."""
    fence_interval_s: float = 5.0
    """How often each zone is asked for its fence: one that is lost protects nothing until it is back."""
    fence_questions_per_s: float = 20.0
    """Bound on these questions to one server; for more zones on it, the interval grows (`enactorctl status`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """Table [http]; without a certificate plain HTTP, without tokens nothing can be written through it."""

    listen: tuple[Address, ...] = (LISTEN,)
    """Where HTTP is served, a text or a list. `[::]:8451` serves IPv6 and IPv4, `0.0.0.0:8451` IPv4 alone."""
    hosts: tuple[str, ...] = ()
    """Names under which browsers ask for the pages, besides localhost, this machine's name and any address; `*`: all.
    Another name in a request is refused (421), unless it carries a token: a foreign page could be behind it."""
    tokens: Tokens = field(default=Tokens(), repr=False)
    """File of the bearer tokens, a line each with name, role and hash: `enactorctl token` makes and changes it. Without
    and token_file nothing can be written over HTTP."""
    token: Token | None = field(default=None, repr=False)
    """File of one token as it is, which another program made (a Kubernetes secret, a secret store). Its bearer is a
    planner of the name planner: it publishes, and does no more."""
    read_needs_token: bool = False
    """Whether reading needs a token, too, of any role. Only `/healthz` is open then, and of `/readyz` the
    status and the process."""
    tls_cert: bytes = field(default=b"", repr=False)
    """Certificate; with it, HTTPS is served. Goes together with tls_key_file."""
    tls_key: bytes = field(default=b"", repr=False)
    """Key of the certificate."""
    connections_max: int = 256
    """Connections open at once."""
    events_clients_max: int = 32
    """Clients that follow the stream of events at once."""
    requests_per_s: float = 200.0
    """Of one client's address; a burst of twice as many passes. Of those with a wrong token, a fiftieth of it."""
    request_timeout_s: float = 30.0
    """Longest time for one request."""
    plan_bytes_max: int = PLAN_BYTES_MAX
    """Largest plan that is taken over HTTP, in bytes."""

    @property
    def bearers(self) -> Tokens:
        """All tokens that open something."""
        return Tokens((*self.tokens.all, *([self.token] if self.token else [])))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Table [log]; `format` "": JSON off a terminal."""

    level: str = "info"
    """The least of what is logged."""
    format: str = ""
    """Without it: console on a terminal, JSON elsewhere."""


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


def load_config(path: Path, *, for_daemon: bool = True) -> Config:
    """Read a config file and the files that it names. Raises `ConfigError` with every problem, each with its line.

    Without `for_daemon` (tools for people) the enactor's id and the secrets of zones may be missing.
    """
    return read_source(Source(path=path, text=read_text(path), for_daemon=for_daemon))


_HINTS: Mapping[type[OSError], str] = {
    FileNotFoundError: "; correct the path (enactorctl takes --config FILE), or write the file as README.md shows",
    PermissionError: "; run this as root, or as a user who may read the file",
    IsADirectoryError: "; name the file in it",
}
"""What to do about a config that cannot be read."""


def read_text(path: Path) -> str:
    """Return the text of a config file. Raises `ConfigError`."""
    try:
        return read_bounded(path, CONFIG_BYTES_MAX).decode("utf-8")
    except OSError as error:
        raise ConfigError((f"{path}: {error.strerror}{_HINTS.get(type(error), '')}",)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((f"{path}: not UTF-8: {error}; save the file as UTF-8",)) from error


def read_source(source: Source) -> Config:
    """Read a config from its text; files whose contents the source has are not read again. Raises `ConfigError`."""
    path, text = source.path, source.text
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError((f"{path}: nested too deeply",)) from error
    except ValueError as error:  # of TOML, or of a number with thousands of digits
        raise ConfigError((f"{path}: {_no_toml(str(error))}",)) from error
    return Reader(document, source).read()


def _no_toml(said: str) -> str:
    """Return what the parser of TOML says, the line first as all problems have it, and the forms that are right."""
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", said, re.DOTALL)
    where = f"line {found[2]}: " if found and found[2] else "at its end: " if found else ""
    reason = f"{found[1]}{f', at column {found[3]}' if found[3] else ''}" if found else said
    return f'{where}this is no TOML: {reason}; write key = "text" (with both quotes), key = 5, key = true, or [table]'


_TABLES: Mapping[str, tuple[str, ...]] = {
    "enactor": ("id", "scope", "state_dir"),
    "store": (
        "url", "ca_file", "cert_file", "key_file", "username", "password_file", "timeout_s", "claim_ttl_s",
    ),
    "zone": (
        "name", "backend", "server", "tsig_name", "tsig_algorithm", "tsig_secret_file", "skydns_path",
        "hosted_zone_id", "endpoint_url", "requests_per_s", "batch_names_max", "in_flight_max", "timeout_s", "verify",
        "verify_timeout_s", "answers_max",
    ),
    "guard": tuple(key.name for key in Limits.KEYS),
    "prune": ("keep_plans", "keep_s", "interval_s"),
    "repair": ("interval_s", "names_per_s", "fence_interval_s", "fence_questions_per_s"),
    "http": (
        "listen", "hosts", "tokens_file", "token_file", "read_needs_token", "tls_cert_file", "tls_key_file",
        "connections_max", "events_clients_max", "requests_per_s", "request_timeout_s", "plan_bytes_max",
    ),
    "log": ("level", "format"),
}  # fmt: skip
_NO_ZONE = "give at least one [[zone]], in two brackets, with name and backend"


class Reader:
    """Reads one document, gathering problems."""

    def __init__(self, document: Mapping[str, Any], source: Source) -> None:
        self._document = document
        self._source = source
        self._lines = source.text.split("\n")
        # Of the folder that the config is asked for in: where Kubernetes mounts a config, the file itself is a link.
        self._base = source.path.absolute().parent
        self._for_daemon = source.for_daemon
        self._files = FileReader(source.contents)
        self._uses: list[FileUse] = []
        self._problems: list[tuple[int, str]] = []
        self._warnings: list[str] = []

    def read(self) -> Config:
        for table in self._document:
            if table not in _TABLES:
                self._problem(self._table_line(table), table, f"unknown table{nearest(table, _TABLES)}")
        zones = self._zones()
        enactor = self._table("enactor")
        store = self._table("store")
        guard = self._table("guard")
        prune = self._table("prune")
        repair = self._table("repair")
        http = self._table("http")
        log = self._table("log")
        store_pair = store.pair("cert_file", "key_file")
        http_pair = http.pair("tls_cert_file", "tls_key_file")
        config = Config(
            enactor=EnactorConfig(
                id=enactor.identity("id", required=self._for_daemon),
                scope=enactor.text("scope", "", required=True, check=check_scope),
                state_dir=enactor.path("state_dir") or Path("/var/lib/enactord"),
            ),
            store=StoreConfig(
                url=self._store_url(store),
                ca=store.authorities("ca_file"),
                cert=store_pair[0],
                key=store_pair[1],
                username=store.text("username", ""),
                password=store.secret("password_file").decode("utf-8", "replace"),
                timeout_s=store.number("timeout_s", 5.0, low=0.1, high=120),
                claim_ttl_s=store.integer("claim_ttl_s", 10, low=2, high=3600),
            ),
            zones=zones,
            guard=Limits(**{key.name: guard.value(key) for key in Limits.KEYS}),
            prune=PruneConfig(
                keep_plans=prune.integer("keep_plans", 20, low=0, high=100_000),
                keep_s=prune.number("keep_s", 86_400.0, low=0, high=86_400 * 365),
                interval_s=prune.number("interval_s", 60.0, low=0.1, high=86_400),
            ),
            repair=RepairConfig(
                interval_s=repair.number("interval_s", repair_interval_s(zones), low=0.1, high=86_400),
                names_per_s=repair.number("names_per_s", 500.0, low=1, high=1_000_000),
                fence_interval_s=repair.number("fence_interval_s", 5.0, low=0.1, high=86_400),
                fence_questions_per_s=repair.number("fence_questions_per_s", 20.0, low=0.1, high=100_000),
            ),
            http=HttpConfig(
                listen=http.one_or_more("listen", (LISTEN,)),
                hosts=http.texts("hosts"),
                tokens=http.tokens("tokens_file", read=self._for_daemon),
                token=http.given_token("token_file", read=self._for_daemon),
                read_needs_token=http.flag("read_needs_token", default=False),
                tls_cert=http_pair[0],
                tls_key=http_pair[1],
                connections_max=http.integer("connections_max", 256, low=8, high=65_536),
                events_clients_max=http.integer("events_clients_max", 32, low=1, high=4096),
                requests_per_s=http.number("requests_per_s", 200.0, low=1, high=1_000_000),
                request_timeout_s=http.number("request_timeout_s", 30.0, low=1, high=600),
                plan_bytes_max=http.integer("plan_bytes_max", PLAN_BYTES_MAX, low=1024, high=PLAN_BYTES_MAX),
            ),
            log=LogConfig(
                level=log.text("level", "info", choices=LEVELS),
                format=log.text("format", "", choices=("json", "console")),
            ),
            warnings=tuple(self._warnings),
            source=replace(self._source, uses=tuple(self._uses), contents=self._files.contents),
        )
        if any(zone.backend == "skydns" for zone in zones) and config.store.url.startswith("sqlite:"):
            self._problem(store.line("url"), "store.url", "must be etcd://… for zones of the skydns backend")
        if config.http.token is not None and config.http.tokens.named(config.http.token.name):
            told = f"a token of http.tokens_file has the name {config.http.token.name}, which this token has; revoke it"
            self._problem(http.line("token_file"), "http.token_file", told)
        if config.http.read_needs_token and not any(
            {"http.tokens_file", "http.token_file"} & set(use.keys) for use in self._uses
        ):
            told = "needs http.tokens_file: name a file there, and make it: enactorctl token create NAME --role ROLE"
            self._problem(http.line("read_needs_token"), "http.read_needs_token", told)
        if config.guard[TTL_MIN] > config.guard[TTL_MAX]:
            low, high = (key if key.name in guard.keys else None for key in (TTL_MIN, TTL_MAX))
            told = f"ttl_min_s {config.guard[TTL_MIN]} is above ttl_max_s {config.guard[TTL_MAX]}; change one of them"
            named = (low or high or TTL_MIN).name
            self._problem(guard.line(named), f"guard.{named}", told)
        if self._problems:
            raise ConfigError(self._told())
        return config

    def _store_url(self, store: Table) -> str:
        url = store.text("url", "", required=True)
        # Not shown: it would stand in logs and in /readyz.
        if re.search(r"@|.\?", url) and not url.startswith("sqlite:///"):
            store.problem("url", "must hold no name and no password: set store.username and store.password_file")
            return ""
        if url and not re.match(r"etcd://[^/]+/?\Z|sqlite:///.+", url):
            store.problem("url", f"{shown(url)} must be etcd://host:2379,host:2379 or sqlite:///absolute/path")
        return url

    def _zones(self) -> tuple[ZoneConfig, ...]:
        given = self._document.get("zone", [])
        if not isinstance(given, list) or not given:
            self._problem(self._table_line("zone"), "zone", _NO_ZONE)
            return ()
        zones: list[ZoneConfig] = []
        for index, values in enumerate(given):
            table = Table(self, "zone", values if isinstance(values, dict) else {}, index, _TABLES["zone"])
            zones.append(read_zone(table, for_daemon=self._for_daemon, before=zones))
        return tuple(zones)

    def _table(self, name: str) -> Table:
        values = self._document.get(name, {})
        if not isinstance(values, dict):
            self._problem(self._table_line(name), name, f"must be a table: [{name}]")
            values = {}
        return Table(self, name, values, 0, _TABLES[name])

    def _problem(self, line: int, key: str, text: str) -> None:
        key, text = cut(key), cut(text, _PROBLEM_MAX)
        self._problems.append((line, f"line {line}: {key}: {text}" if line else f"{key}: {text}"))
        if len(self._problems) == PROBLEMS_MAX:
            raise ConfigError((*self._told(), "and perhaps more"))

    def _told(self) -> tuple[str, ...]:
        """Return the problems in the order of their lines, each with the file that has to be mended."""
        return tuple(f"{self._source.path}: {text}" for _, text in sorted(self._problems))

    def _table_line(self, name: str, index: int = 0) -> int:
        header = re.compile(rf"\s*\[\[?\s*{re.escape(name)}\s*\]")
        seen = [number for number, line in enumerate(self._lines, 1) if header.match(line)]
        return seen[index] if index < len(seen) else 0

    def key_line(self, table: str, key: str, index: int) -> int:
        """Return the line of a key in a table; of the table where the key is not there."""
        start = self._table_line(table, index)
        for number in range(start, len(self._lines)):
            if re.match(r"\s*\[", self._lines[number]):
                break
            if re.match(rf'\s*"?{re.escape(key)}"?\s*=', self._lines[number]):
                return number + 1
        return start

    @property
    def base(self) -> Path:
        return self._base

    def add(self, line: int, key: str, text: str) -> None:
        self._problem(line, key, text)

    def content(self, path: Path) -> bytes:
        """Return what a file holds. Raises OSError."""
        return self._files.read(path)

    def uses(self, keys: tuple[str, ...], paths: tuple[Path, ...]) -> None:
        """Note that these files are used."""
        self._uses.append(FileUse(keys=keys, paths=paths))

    def warn(self, text: str) -> None:
        self._warnings.append(text)
