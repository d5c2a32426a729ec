"""The config file: TOML read into values, every problem found at once, with its line and what to do."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from enactord.backends import ALL
from enactord.backends.backend import ZoneConfig
from enactord.config.files import FileReader, FileUse, Source, read_bounded
from enactord.config.table import Table, cut, nearest
from enactord.config.tables import TABLE_ORDER, TABLES, Config, keys_of
from enactord.config.zone import read_zone, repair_interval_s
from enactord.core.errors import ConfigError
from enactord.core.guards.ttl import TTL_MAX, TTL_MIN

CONFIG_BYTES_MAX = 128 * 1024
"""A config has some hundred lines; what is larger is another file. (Reading dotted keys takes time by their square.)"""
PROBLEMS_MAX = 100
_PROBLEM_MAX = 4096 + 200  # a path may be so long


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
        return read_bounded(path, CONFIG_BYTES_MAX).decode("utf-8-sig")
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
            if table not in TABLE_ORDER:
                self._problem(self._table_line(table), table, f"unknown table{nearest(table, TABLE_ORDER)}")
        tables = {name: self._table(name) for name in TABLES}
        values = {name: tables[name].read(made) for name, made in TABLES.items()}
        store, guard, repair, http = (tables[name] for name in ("store", "guard", "repair", "http"))
        zones = self._zones()
        if "interval_s" not in repair.keys:
            values["repair"]["interval_s"] = repair_interval_s(zones)
        config = Config(
            **{name: made(**values[name]) for name, made in TABLES.items()},
            zones=zones,
            warnings=tuple(self._warnings),
            source=replace(self._source, uses=tuple(self._uses), contents=self._files.contents),
        )
        for backend in dict.fromkeys(zone.backend for zone in zones if zone.backend):
            needed = ALL[backend].can.store
            if needed and config.store.url and not config.store.url.startswith(f"{needed}:"):
                self._problem(
                    store.line("url"), "store.url", f"must be {needed}://… for zones of the {backend} backend"
                )
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

    def _zones(self) -> tuple[ZoneConfig, ...]:
        given = self._document.get("zone", [])
        if not isinstance(given, list) or not given:
            self._problem(self._table_line("zone"), "zone", _NO_ZONE)
            return ()
        zones: list[ZoneConfig] = []
        for index, values in enumerate(given):
            table = Table(self, "zone", values if isinstance(values, dict) else {}, index, self._known("zone"))
            zones.append(read_zone(table, before=zones))
        return tuple(zones)

    def _table(self, name: str) -> Table:
        values = self._document.get(name, {})
        if not isinstance(values, dict):
            self._problem(self._table_line(name), name, f"must be a table: [{name}]")
            values = {}
        return Table(self, name, values, 0, self._known(name))

    @staticmethod
    def _known(table: str) -> tuple[str, ...]:
        return tuple(key.name for key in keys_of(table))

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

    @property
    def for_daemon(self) -> bool:
        return self._for_daemon

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
