"""A config read anew while the enactor runs: what can change safely does, and of the rest nothing does.

Safe is what a rolling restart would change no more gently: guard limits, retention,
pace, log, and the secrets and certificates behind names that stay the same. A change of
anything else (who this is, its store, its zones, where it listens) refuses the whole
config, so that a running enactor never stands between two configs.
"""

import dataclasses
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from enactord.backends import ALL
from enactord.backends.backend import ZoneConfig
from enactord.config.tables import TABLES, Config, HttpConfig, LogConfig
from enactord.core.errors import ConfigError
from enactord.core.events import Event
from enactord.core.settings import Values, declared
from enactord.daemon.certificates import Certificate, certificates_of, expired
from enactord.engine.enactor import Enactor
from enactord.http.app import Pages, open_tls
from enactord.ports import Renewable
from enactord.telemetry.lines import LineWriter
from enactord.telemetry.log import LogObserver, make_logger
from enactord.wire.tls import BadCertificate, load_pair

_CERTIFICATE = frozenset({"tls_cert_file", "tls_key_file"})


class LiveLog:
    """The log, of which level and form may change; an observer."""

    def __init__(self, config: LogConfig, lines: LineWriter, **bound: Any) -> None:
        self.lines = lines
        self._bound = bound
        self.use(config)
        lines.tell_lost = self._lost_line

    def use(self, config: LogConfig) -> None:
        """Log by this config from now on."""
        self._format = config.format
        self.logger = make_logger(config.level, config.format, self.lines, **self._bound)
        self._observer = LogObserver(self.logger)

    def observe(self, event: Event) -> None:
        self._observer.observe(event)

    def tell(self, level: str, event: str, /, **facts: Any) -> None:
        """Log what no event of the engine is."""
        getattr(self.logger, level)(event, **facts)

    def troubles(self) -> list[str]:
        """Return why lines of the log are lost now, for `/readyz`; nothing while all are written."""
        why = self.lines.losing
        if not why:
            return []
        return [
            f"log: {self.lines.lost} lines of stderr were lost since the start: {why};"
            " look at what reads it (journald, the container's log driver, a full disk)"
        ]

    def _lost_line(self, lost: int, why: str) -> str:
        """Return the line that stands where others are missing, in the log's form."""
        made: list[str] = []
        logger = make_logger("warning", self._format, _Kept(made, self.lines.isatty()), **self._bound)
        logger.warning("lines.lost", lines=lost, detail=why)
        return made[0].rstrip("\n")


@dataclasses.dataclass(frozen=True, slots=True)
class _Kept:
    """Keeps the lines that are written to it."""

    lines: list[str]
    terminal: bool

    def write(self, line: str) -> None:
        self.lines.append(line)

    def isatty(self) -> bool:
        return self.terminal


class Live:
    """A running enactor, and the config that it runs by.

    `refused` says why a later config was not taken up; `file_problems`, by key, why what a file holds now was not.
    """

    def __init__(
        self, config: Config, enactor: Enactor, pages: Pages, tls: ssl.SSLContext | None, log: LiveLog
    ) -> None:
        self.config = config
        self.refused = ""
        self.file_problems: Mapping[str, str] = {}
        self.certificates: Sequence[Certificate] = certificates_of(config)
        self._enactor = enactor
        self._pages = pages
        self._tls = tls
        self._log = log

    def reload(self, config: Config) -> list[str]:
        """Go over to a config; returns the keys that changed. Raises `ConfigError`, and then nothing has changed."""
        keys = changed_keys(self.config, config)
        refused = self.refusals(config)
        if refused:
            raise ConfigError(tuple(refused))
        self._take_certificate(config.http)
        # From here on nothing can fail.
        self._renew_secrets(config)
        self._enactor.retune(config.settings)
        self._pages.retune(config.http)
        self._log.use(config.log)
        self.config = config
        self.certificates = certificates_of(config)
        return keys

    def refusals(self, config: Config) -> Sequence[str]:
        """Return why a config cannot be gone over to without a restart, by key; nothing where it can."""
        fixed = [key for key in changed_keys(self.config, config) if not self._takes(key)]
        return [f"{key}: cannot change while enactord runs; restart it" for key in fixed]

    def reasons(self) -> list[str]:
        """Return what is wrong with the config and the files that it names now."""
        now = self._enactor.ports.clock.now()
        found = [f"config not taken up: {self.refused}"] if self.refused else []
        found.extend(f"{key}: {detail}" for key, detail in sorted(self.file_problems.items()))
        found.extend(expired(self.certificates, now))
        return found

    def _renew_secrets(self, config: Config) -> None:
        """Give certificates, password and keys to the store and to the zones."""
        ports, access = self._enactor.ports, config.store.access
        if isinstance(ports.store, Renewable):
            ports.store.renew(access.tls, access.password)
        for zone in config.zones:
            ALL[zone.backend].renew(ports.zones[zone.name].zone, zone, access)

    def _take_certificate(self, http: HttpConfig) -> None:
        """Take up what the files hold now, where that is new, be it under the same paths: new connections get it."""
        before = self.config.http
        same = (http.tls_cert, http.tls_key) == (before.tls_cert, before.tls_key)
        if self._tls is None or not http.tls_cert or same:
            return
        open_tls(http)  # a certificate that does not fit its key must not spoil the one in use
        try:
            load_pair(self._tls, http.tls_cert, http.tls_key)
        except BadCertificate as error:
            raise ConfigError((f"http.tls_cert_file: {error}",)) from error

    def _takes(self, key: str) -> bool:
        """Return whether a key may change now; with its zone, as in `zone[example.test.].server`."""
        table, _, name = key.rpartition(".")
        if name in _CERTIFICATE and self._tls is None:
            return False  # a socket without TLS cannot take it up
        tables = {**TABLES, **{_zone_table(zone): type(zone) for zone in self.config.zones}}
        return table in tables and reloadable(tables[table], name)


def reloadable(table: type[Any], key: str) -> bool:
    """Whether a key of a table's class may change while enactord runs."""
    return any(one.name == key and one.reload for one in declared(table))


def changed_keys(before: Config, after: Config) -> list[str]:
    """Return the keys whose values differ, sorted; those of a zone as `zone[example.test.].server`."""
    one, other = _flat(before), _flat(after)
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _flat(config: Config) -> Mapping[str, Any]:
    """Every value of a config by its key. New fields are here by themselves, and so refused until they are listed."""
    values: dict[str, Any] = {"zone": [zone.name for zone in config.zones]}
    for table in dataclasses.fields(config):
        if table.name not in ("zones", "warnings", "source"):
            values |= _values(table.name, getattr(config, table.name))
    for zone in config.zones:
        values |= _values(_zone_table(zone), zone)
    return values


def _zone_table(zone: ZoneConfig) -> str:
    return f"zone[{zone.name}]"


def _values(table: str, part: Any) -> dict[str, Any]:
    if isinstance(part, Values):
        return {f"{table}.{name}": value for name, value in part.by_name().items()}
    names = {key.field: key.name for key in declared(type(part))}
    found = {f"{table}.{names.get(one.name, one.name)}": getattr(part, one.name) for one in dataclasses.fields(part)}
    return found | ({f"{table}.backend": part.backend} if isinstance(part, ZoneConfig) else {})
