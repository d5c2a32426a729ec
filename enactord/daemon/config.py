"""The config: TOML read into values, every problem found at once, with its line and what to do."""

import base64
import binascii
import difflib
import os
import re
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from enactord.core.errors import ConfigError
from enactord.core.guard import Limits
from enactord.core.plan import PLAN_BYTES_MAX
from enactord.daemon.zone_config import BACKENDS as BACKENDS
from enactord.daemon.zone_config import Address as Address
from enactord.daemon.zone_config import ZoneConfig as ZoneConfig
from enactord.daemon.zone_config import read_zone, repair_interval_s
from enactord.engine.settings import Settings, ZoneSettings
from enactord.registry.keys import valid_scope

LISTEN = Address(host="127.0.0.1", port=8451)
LISTEN_MAX = 16
LEVELS = ("debug", "info", "warning", "error")
CONFIG_BYTES_MAX = 128 * 1024
"""A config has some hundred lines; what is larger is another file. (Reading dotted keys takes time by their square.)"""
SECRET_BYTES_MAX = 64 * 1024
PROBLEMS_MAX = 100
_PROBLEM_MAX = 4096 + 200  # a path may be so long
_SHOWN_MAX = 100
_ENACTOR_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


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
    ca_file: Path | None = None
    """Certificates that the store's is checked against; with it, TLS is used."""
    cert_file: Path | None = None
    """Own certificate, where the store asks for one."""
    key_file: Path | None = None
    """Key of the own certificate."""
    username: str = ""
    """Where the store asks for a name and a password."""
    password: str = field(default="", repr=False)
    """File that holds the password."""
    timeout_s: float = 5.0
    """Longest wait for one answer of the store."""
    claim_ttl_s: int = 10
    """How long a claim outlives an enactor that says nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneConfig:
    """Table [prune]."""

    keep_plans: int = 20
    """The newest plans that stay in any case; 0 is safe."""
    interval_s: float = 60.0
    """Pause between two looks for plans that nothing can need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairConfig:
    """Table [repair]."""

    interval_s: float = 30.0
    """Pause between two looks at all that is served (300 where a zone is Route 53's, which counts requests)."""
    names_per_s: float = 500.0
    """Bound on the questions of such a look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """Table [http]; without a certificate plain HTTP, without a token nothing can be written through it."""

    listen: tuple[Address, ...] = (LISTEN,)
    """Where HTTP is served, a text or a list. `[::]:8451` serves IPv6 and IPv4, `0.0.0.0:8451` IPv4 alone."""
    token: bytes = field(default=b"", repr=False)
    """File that holds the bearer token which may write; without it nothing can be written over HTTP."""
    tls_cert_file: Path | None = None
    """Certificate; with it, HTTPS is served. Goes together with tls_key_file."""
    tls_key_file: Path | None = None
    """Key of the certificate."""
    connections_max: int = 256
    """Connections open at once."""
    events_clients_max: int = 32
    """Clients that follow the stream of events at once."""
    requests_per_s: float = 200.0
    """Of one client's address; a burst of twice as many passes."""
    request_timeout_s: float = 30.0
    """Longest time for one request."""
    plan_bytes_max: int = PLAN_BYTES_MAX
    """Largest plan that is taken over HTTP, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Table [log]; `format` "": JSON off a terminal."""

    level: str = "info"
    """The least of what is logged."""
    format: str = ""
    """Without it: console on a terminal, JSON elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole config that has been checked; `warnings` are what works but should be mended."""

    enactor: EnactorConfig
    store: StoreConfig
    zones: tuple[ZoneConfig, ...]
    guard: Limits
    prune: PruneConfig
    repair: RepairConfig
    http: HttpConfig
    log: LogConfig
    warnings: tuple[str, ...] = ()

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
                )
                for zone in self.zones
            ],
            limits=self.guard,
            claim_ttl_s=self.store.claim_ttl_s,
            keep_plans=self.prune.keep_plans,
            prune_interval_s=self.prune.interval_s,
            repair_interval_s=self.repair.interval_s,
            repair_names_per_s=self.repair.names_per_s,
        )


def load_config(path: Path, *, for_daemon: bool = True) -> Config:
    """Read a config file. Raises `ConfigError` with every problem, each with its line.

    Without `for_daemon` (tools for people) the enactor's id and the secrets of zones may be missing.
    """
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES_MAX + 1).decode("utf-8")
    except OSError as error:
        raise ConfigError((f"{path}: {error.strerror}",)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((f"{path}: not UTF-8: {error}",)) from error
    if len(text) > CONFIG_BYTES_MAX:
        raise ConfigError((f"{path}: longer than {CONFIG_BYTES_MAX:,} bytes",))
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError((f"{path}: nested too deeply",)) from error
    except ValueError as error:  # of TOML, or of a number with thousands of digits
        raise ConfigError((f"{path}: {error}",)) from error
    return _Reader(document, text, path.resolve().parent, for_daemon=for_daemon).read()


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
    "guard": tuple(f.name for f in fields(Limits)),
    "prune": ("keep_plans", "interval_s"),
    "repair": ("interval_s", "names_per_s"),
    "http": (
        "listen", "token_file", "tls_cert_file", "tls_key_file", "connections_max", "events_clients_max",
        "requests_per_s", "request_timeout_s", "plan_bytes_max",
    ),
    "log": ("level", "format"),
}  # fmt: skip


class _Reader:
    """Reads one document, gathering problems."""

    def __init__(self, document: Mapping[str, Any], text: str, base: Path, *, for_daemon: bool) -> None:
        self._document = document
        self._lines = text.split("\n")
        self._base = base
        self._for_daemon = for_daemon
        self._problems: list[tuple[int, str]] = []
        self._warnings: list[str] = []

    def read(self) -> Config:
        for table in self._document:
            if table not in _TABLES:
                self._problem(self._table_line(table), table, f"unknown table{_nearest(table, _TABLES)}")
        zones = self._zones()
        enactor = self._table("enactor")
        store = self._table("store")
        guard = self._table("guard")
        prune = self._table("prune")
        repair = self._table("repair")
        http = self._table("http")
        log = self._table("log")
        config = Config(
            enactor=EnactorConfig(
                id=enactor.identity("id", required=self._for_daemon),
                scope=enactor.text("scope", "", required=True, check=_check_scope),
                state_dir=enactor.path("state_dir") or Path("/var/lib/enactord"),
            ),
            store=StoreConfig(
                url=self._store_url(store),
                ca_file=store.file("ca_file"),
                cert_file=store.file("cert_file"),
                key_file=store.file("key_file"),
                username=store.text("username", ""),
                password=store.secret("password_file").decode("utf-8", "replace"),
                timeout_s=store.number("timeout_s", 5.0, low=0.1, high=120),
                claim_ttl_s=store.integer("claim_ttl_s", 10, low=2, high=3600),
            ),
            zones=zones,
            guard=Limits(
                targets_min=guard.integer("targets_min", 1, low=1, high=1000),
                capacity_removed_max_ratio=guard.number("capacity_removed_max_ratio", 0.5, low=0, high=1),
                velocity_window_s=guard.number("velocity_window_s", 300.0, low=0, high=86_400 * 30),
                endpoints_removed_max_ratio=guard.number("endpoints_removed_max_ratio", 0.2, low=0, high=1),
                ttl_min_s=guard.integer("ttl_min_s", 1, low=0, high=2**31 - 1),
                ttl_max_s=guard.integer("ttl_max_s", 86_400, low=0, high=2**31 - 1),
                allow_private=guard.flag("allow_private", default=False),
                allow_loopback=guard.flag("allow_loopback", default=False),
            ),
            prune=PruneConfig(
                keep_plans=prune.integer("keep_plans", 20, low=0, high=100_000),
                interval_s=prune.number("interval_s", 60.0, low=0.1, high=86_400),
            ),
            repair=RepairConfig(
                interval_s=repair.number("interval_s", repair_interval_s(zones), low=0.1, high=86_400),
                names_per_s=repair.number("names_per_s", 500.0, low=1, high=1_000_000),
            ),
            http=HttpConfig(
                listen=http.listen("listen", (LISTEN,)),
                token=http.secret("token_file"),
                tls_cert_file=http.file("tls_cert_file"),
                tls_key_file=http.file("tls_key_file"),
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
        )
        if (config.http.tls_cert_file is None) != (config.http.tls_key_file is None):
            self._problem(http.line("tls_cert_file"), "http.tls_cert_file", "goes together with tls_key_file")
        if any(zone.backend == "skydns" for zone in zones) and config.store.url.startswith("sqlite:"):
            self._problem(store.line("url"), "store.url", "must be etcd://… for zones of the skydns backend")
        if config.guard.ttl_min_s > config.guard.ttl_max_s:
            self._problem(guard.line("ttl_min_s"), "guard.ttl_min_s", "is above ttl_max_s")
        if self._problems:
            raise ConfigError(tuple(text for _, text in sorted(self._problems)))
        return config

    def _store_url(self, store: "Table") -> str:
        url = store.text("url", "", required=True)
        if url and not re.match(r"etcd://[^/]+/?\Z|sqlite:///.+", url):
            store.problem("url", f"{_shown(url)} must be etcd://host:2379,host:2379 or sqlite:///absolute/path")
        return url

    def _zones(self) -> tuple[ZoneConfig, ...]:
        given = self._document.get("zone", [])
        if not isinstance(given, list) or not given:
            self._problem(self._table_line("zone"), "zone", "give at least one [[zone]]")
            return ()
        zones: list[ZoneConfig] = []
        for index, values in enumerate(given):
            table = Table(self, "zone", values if isinstance(values, dict) else {}, index)
            zones.append(read_zone(table, for_daemon=self._for_daemon, before=zones))
        return tuple(zones)

    def _table(self, name: str) -> "Table":
        values = self._document.get(name, {})
        if not isinstance(values, dict):
            self._problem(self._table_line(name), name, f"must be a table: [{name}]")
            values = {}
        return Table(self, name, values, 0)

    def _problem(self, line: int, key: str, text: str) -> None:
        key, text = _cut(key), _cut(text, _PROBLEM_MAX)
        self._problems.append((line, f"line {line}: {key}: {text}" if line else f"{key}: {text}"))
        if len(self._problems) == PROBLEMS_MAX:
            raise ConfigError((*(text for _, text in sorted(self._problems)), "and perhaps more"))

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

    def warn(self, text: str) -> None:
        self._warnings.append(text)


class Table:
    """One table: typed access to its keys; a value of a wrong kind is a problem, and the default is used on."""

    def __init__(self, reader: _Reader, name: str, values: Mapping[str, Any], index: int) -> None:
        self._reader = reader
        self._name = name
        self._values = values
        self._index = index
        for key in values:
            if key not in _TABLES[name]:
                self.problem(key, f"unknown key{_nearest(key, _TABLES[name])}")

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are given."""
        return tuple(self._values)

    def line(self, key: str) -> int:
        return self._reader.key_line(self._name, key, self._index)

    def problem(self, key: str, text: str) -> None:
        self._reader.add(self.line(key), f"{self._name}.{key}", text)

    def warn(self, key: str, text: str) -> None:
        self._reader.warn(f"{self._name}.{key}: {text}")

    def text(
        self,
        key: str,
        default: str,
        *,
        required: bool = False,
        choices: tuple[str, ...] = (),
        check: Callable[[str], str] | None = None,
    ) -> str:
        value = self._values.get(key)
        if value is None:
            if required:
                self.problem(key, "is missing")
            return default
        if not isinstance(value, str) or (required and not value):
            self.problem(key, f"must be a text, is {_shown(value)}")
            return default
        if choices and value not in choices:
            self.problem(key, f"{_shown(value)} must be one of {', '.join(choices)}")
            return default
        wrong = check(value) if check else ""
        if wrong:
            self.problem(key, wrong)
        return value

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        value = self._values.get(key, default)
        if type(value) is not int or not low <= value <= high:
            self.problem(key, f"must be an integer from {low} to {high}, is {_shown(value)}")
            return default
        return value

    def number(self, key: str, default: float, *, low: float, high: float) -> float:
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.problem(key, f"must be a number from {low:g} to {high:g}, is {_shown(value)}")
            return default
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            self.problem(key, f"must be true or false, is {_shown(value)}")
            return default
        return value

    def identity(self, key: str, *, required: bool) -> str:
        """Return an enactor's id, in which %H stands for this machine's name (in Kubernetes: the pod's)."""
        value = self.text(key, "", required=required).replace("%H", socket.gethostname())
        wrong = _check_id(value) if value else ""
        if wrong:
            self.problem(key, wrong)
        return value

    def path(self, key: str) -> Path | None:
        """Return a path relative to the config's folder, or below systemd's credentials where it begins with %d/."""
        value = self.text(key, "")
        if "\0" in value:
            self.problem(key, "no path has a zero byte")
            return None
        if value.startswith("%d/"):
            credentials = os.environ.get("CREDENTIALS_DIRECTORY", "")
            if not credentials:
                self.problem(key, "%d is $CREDENTIALS_DIRECTORY, which is not set: systemd's LoadCredential= sets it")
                return None
            return Path(credentials) / value.removeprefix("%d/")
        return self._reader.base / value if value else None

    def file(self, key: str) -> Path | None:
        path = self.path(key)
        if path is not None and not os.access(path, os.R_OK):
            self.problem(key, f"{path} cannot be read")
        return path

    def secret(self, key: str, *, required: bool = False) -> bytes:
        """Return what a file of one secret holds, without the newline at its end."""
        if required and not self._values.get(key):
            self.problem(key, "is missing: secrets stand in files of their own")
            return b""
        path = self.path(key)
        if path is None:
            return b""
        try:
            with path.open("rb") as file:
                secret = file.read(SECRET_BYTES_MAX + 1).strip()
            mode = path.stat().st_mode
        except OSError as error:
            self.problem(key, f"{path}: {error.strerror}")
            return b""
        if not 0 < len(secret) <= SECRET_BYTES_MAX:
            self.problem(key, f"{path} must hold a secret of 1 to {SECRET_BYTES_MAX:,} bytes")
            return b""
        if mode & 0o007:
            self._reader.warn(f"{self._name}.{key}: {path} can be read by everybody; chmod o= {path}")
        return secret

    def tsig_secret(self, key: str, *, required: bool) -> bytes:
        encoded = self.secret(key, required=required)
        try:
            secret = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            self.problem(key, "the file must hold the secret in base64, and nothing else (see: tsig-keygen)")
            return b""
        if required and encoded and len(secret) < 16:
            self.problem(key, f"a secret of {len(secret)} bytes is too short; 32 is usual")
        return secret

    def address(self, key: str, default: Address, *, required: bool = False) -> Address:
        value = self.text(key, "", required=required)
        return self._address(key, value) or default if value else default

    def addresses(self, key: str) -> tuple[Address, ...]:
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.problem(key, 'must be a list of "host:port"')
            return ()
        return tuple(address for one in value if (address := self._address(key, one)) is not None)

    def listen(self, key: str, default: tuple[Address, ...]) -> tuple[Address, ...]:
        """Return where to listen: given as a text, or as a list of them without doubles."""
        value = self._values.get(key)
        if value is None:
            return default
        texts = value if isinstance(value, list) else [value]
        if not texts or len(texts) > LISTEN_MAX or not all(isinstance(text, str) for text in texts):
            self.problem(key, f'must be "host:port", or a list of 1 to {LISTEN_MAX} of them, is {_shown(value)}')
            return default
        addresses = tuple(
            address for text in texts if (address := self._address(key, text, more=", or a list of such")) is not None
        )
        if len(set(addresses)) < len(addresses):
            self.problem(key, "names an address twice")
        return addresses or default

    def _address(self, key: str, value: str, more: str = "") -> Address | None:
        match = re.match(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]\s]+)):(?P<port>\d{1,5})\Z", value)
        if match is None or not 0 < int(match["port"]) < 65_536 or not _is_host(match["v6"], match["host"]):
            self.problem(key, f'{_shown(value)} must be "host:port" (an IPv6 address in brackets){more}')
            return None
        return Address(host=match["v6"] or match["host"], port=int(match["port"]))


def _is_host(v6: str | None, host: str) -> bool:
    """Whether a host can be looked up at all: else the first connection to it fails as no network does."""
    try:
        return bool(socket.inet_pton(socket.AF_INET6, v6) if v6 else host.encode("idna") and host.isprintable())
    except (OSError, UnicodeError):
        return False


def _shown(value: object) -> str:
    """Return a value as it is told back: short, however long it is."""
    try:
        return _cut(repr(value))
    except (ValueError, RecursionError):
        return "a value that is too long"


def _cut(text: str, length: int = _SHOWN_MAX) -> str:
    return text if len(text) <= length else text[:length] + "…"


def _check_id(value: str) -> str:
    return "" if _ENACTOR_ID.match(value) else "must be 1 to 63 letters, digits, '.', '_' or '-'"


def _check_scope(value: str) -> str:
    return "" if valid_scope(value) else "must be 1 to 63 of a-z, 0-9, '.', '_' and '-'"


def _nearest(word: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(_cut(word), list(known), n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(known)}"
