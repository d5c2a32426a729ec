"""docs/config.md: each key with what it takes, from the declarations that the reader of the config goes by."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from enactord.backends import ALL
from enactord.backends.backend import Backend, ZoneConfig
from enactord.config.reader import load_config
from enactord.config.schema import shown_default
from enactord.config.tables import TABLE_ORDER, keys_of
from enactord.config.zone import BACKEND_KEY
from enactord.core.errors import ConfigError
from enactord.core.settings import Declared, declared
from tests.docs.markdown import code, table

_INTRODUCTION = """\
# Config

A TOML file, read by `enactord run`, `enactorctl` and `planner-stub`. Every problem in it is told at once, with its
line: `enactord check-config FILE`. An unknown table or key is an error. A path is relative to the config's folder;
one that begins with `%d/` is below `$CREDENTIALS_DIRECTORY`, which systemd's `LoadCredential=` sets. Secrets stand
in files of their own.

**Reload**: the key may change while the enactor runs, by SIGHUP (`systemctl reload enactord`). If any other key has
changed, or there is any problem, the whole config is left alone. Then the log says `config.refused`, and the enactor
goes on by the old one. *In the store*: the limits of the guards are kept in the store, the same for all enactors. The
config counts for a store without limits alone; `enactorctl limits set` changes them.

The files of secrets and certificates behind such keys are followed by themselves: they are looked at every two seconds,
through links, and read when they have changed and then stayed the same for one look. Each is taken up alone (a
certificate with its key), and the log says `files.taken`. A file that cannot be read or used changes nothing: the log
says `file.refused` once, `/readyz` says why, and what was read before is used on. The store's connection goes over to
new certificates without a break; while the store does not take the new ones, the old connection is kept."""
_MORE = {
    "zone": (
        "One `[[zone]]` for each zone. `backend` says how it is written. The keys of all backends\n"
        "come first, and below them those of each backend.\n\n"
        "Zones of one `server`, and servers in `verify`, share their TCP connections. To each address there are\n"
        "at most 2 for writing and 2 for reading, and one more of each while a connection hangs. There are 2 in all\n"
        "while there is little to do, and none after a minute without use. A zone that hangs keeps at most\n"
        "a quarter of the places for writing, and half of those for reading, from the others."
    ),
    "guard": "What is judged before anything is written; all enactors of a scope must have the same.",
}


_HEAD = ("key", "takes", "default", "reload", "what it is")


def config_page() -> list[str]:
    """Return the lines of the page."""
    lines = _INTRODUCTION.splitlines()
    for name in TABLE_ORDER:
        header = f"[[{name}]]" if name == "zone" else f"[{name}]"
        lines += ["", f"## `{header}`", ""]
        if name in _MORE:
            lines += [_MORE[name], ""]
        if name == "zone":
            lines += _zone()
        else:
            lines += _table(keys_of(name), "in the store" if name == "guard" else "")
    return lines


def _zone() -> list[str]:
    first, *others = declared(ZoneConfig)
    lines = _table((first, BACKEND_KEY, *others))
    for backend in ALL.values():
        lines += ["", f'### `backend = "{backend.name}"`', "", f"{backend.meaning[0].upper()}{backend.meaning[1:]}."]
        lines += [f"No `{key}`: {why}." for key, why in backend.zone.WITHOUT.items()]
        lines += ["", *_table(_own(backend))]
    return lines


def _own(backend: Backend) -> list[Declared]:
    """Return the keys of a backend that not every backend has, or not so."""
    common = {key.name: key for key in declared(ZoneConfig)}
    return [key for key in declared(backend.zone) if common.get(key.name) != key]


def _table(keys: Iterable[Declared], reload: str = "") -> list[str]:
    return table(_HEAD, [_row(key, reload) for key in keys])


def _row(key: Declared, reload: str) -> tuple[str, ...]:
    return code(key.name), key.kind.takes, _default(key), reload or ("yes" if key.reload else ""), key.meaning


def _default(key: Declared) -> str:
    match shown_default(key):
        case _ if key.required:
            return "(required)"
        case None:
            return ""
        case bool(value):
            return code(str(value).lower())
        case float(value):
            return code(f"{value:g}")
        case value:
            return code(value)


def problems(text: str) -> tuple[str, ...]:
    """Return what is wrong with a config."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "enactord.toml")
        path.write_text(text)
        try:
            load_config(path)
        except ConfigError as error:
            return error.problems
    return ()
