"""docs/config.md: each key with what it takes, as the reader of the config itself says it."""

import ast
import dataclasses
import inspect
import re
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enactord.config.tables import (
    BACKENDS,
    Address,
    EnactorConfig,
    HttpConfig,
    LogConfig,
    PruneConfig,
    RepairConfig,
    StoreConfig,
    ZoneConfig,
    load_config,
)
from enactord.core.errors import ConfigError
from enactord.core.guards import Limits
from enactord.core.settings import Key
from enactord.core.tokens import Tokens
from enactord.daemon.reload import reloadable
from tests.docs.markdown import code, table

DECLARED: Mapping[str, Sequence[Key[Any]]] = {"guard": Limits.KEYS}
"""Tables whose keys are declared one by one."""
CLASSES: Mapping[str, type[Any]] = {
    "enactor": EnactorConfig,
    "store": StoreConfig,
    "zone": ZoneConfig,
    "guard": Limits,
    "prune": PruneConfig,
    "repair": RepairConfig,
    "http": HttpConfig,
    "log": LogConfig,
}

_WRONG = ("1979-05-27", '"?"')
"""A value of a kind that no key takes, and a text that says nothing."""
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
        "One `[[zone]]` for each zone. Keys with Reload may change where the backend is `rfc2136`.\n\n"
        "Zones of one `server`, and servers in `verify`, share their TCP connections. To each address there are\n"
        "at most 2 for writing and 2 for reading, and one more of each while a connection hangs. There are 2 in all\n"
        "while there is little to do, and none after a minute without use. A zone that hangs keeps at most\n"
        "a quarter of the places for writing, and half of those for reading, from the others."
    ),
    "guard": "What is judged before anything is written; all enactors of a scope must have the same.",
}


def config_page() -> list[str]:
    """Return the lines of the page."""
    lines = _INTRODUCTION.splitlines()
    for name in CLASSES:
        lines += ["", f"## `{_header(name)}`", ""]
        if name in _MORE:
            lines += [_MORE[name], ""]
        lines += table(("key", "takes", "default", "reload", "what it is"), [_row(name, key) for key in keys(name)])
    return lines


def keys(name: str) -> list[str]:
    """Return the keys of a table, as the reader lists them to one who gives another."""
    return _known(f'{_header(name)}\n"?" = 1\n')


def tables() -> list[str]:
    """Return the tables, likewise."""
    return _known('["?"]\n')


def _known(text: str) -> list[str]:
    (told,) = [problem for problem in problems(text) if "; known: " in problem]
    return told.partition("; known: ")[2].split(", ")


def _header(name: str) -> str:
    return f"[[{name}]]" if name == "zone" else f"[{name}]"


def _row(name: str, key: str) -> tuple[str, ...]:
    field = key.removesuffix("_file")  # of a key that names a file, the field holds what was in it
    default = _required(name, key) or code(_default(name, field))
    return code(key), takes(name, key), default, _reload(name, key), meanings(name)[field]


def _reload(name: str, key: str) -> str:
    if name == "guard":
        return "in the store"
    return "yes" if reloadable(name, key) else ""


def meanings(name: str) -> dict[str, str]:
    """Return what is said of the keys of a table: in their declarations, or in docstrings beneath a class's fields."""
    if name in DECLARED:
        return {key.name: key.meaning for key in DECLARED[name]}
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(CLASSES[name]))).body
    assert isinstance(made, ast.ClassDef)
    found = {}
    for statement, after in zip(made.body, [*made.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        found[statement.target.id] = " ".join(str(after.value.value).split()) if said else ""  # type: ignore[union-attr]
    return found


def takes(name: str, key: str) -> str:
    """Return what a key takes: what the reader says to wrong values of it."""
    if key.endswith("_file") or key == "state_dir":
        return "a path"
    if (name, key) == ("zone", "name"):
        return "a domain name"
    told = [problem for value in _WRONG for problem in _problems(name, key, value)]
    if not told:
        return "a text"
    text = re.sub(r"^'\?' |, is .*$", "", told[-1]).removeprefix("must be ")
    return re.sub(r"[\d.]+e\+\d+", lambda number: f"{float(number[0]):.0f}", text)


def _variants(name: str) -> list[tuple[str, str]]:
    """Return what a table can begin with: a zone by each backend, with the backend's name."""
    if name != "zone":
        return [("", f"{_header(name)}\n")]
    return [(backend, f'{_header(name)}\nbackend = "{backend}"\n') for backend in BACKENDS]


def _problems(name: str, key: str, value: str) -> list[str]:
    """Return the problems of one key, of the first backend that takes it where it is a zone's."""
    for _, header in _variants(name):
        text = f"{_header(name)}\n" if key == "backend" else header
        told = problems(f"{text}{key} = {value}\n")
        found = [said for where, _, said in (p.partition(f" {name}.{key}: ") for p in told) if said and where]
        if not any(said.startswith("is not for") for said in found):
            return found
    raise AssertionError(f"no backend takes {key}")


def _required(name: str, key: str) -> str:
    """Return that a key is required, and by which backends where not by all."""
    if (name, key) == ("zone", "backend"):
        return "(required)"
    variants = _variants(name)
    needing = [
        backend for backend, text in variants if any(f"{name}.{key}: is missing" in told for told in problems(text))
    ]
    if len(needing) == len(variants):
        return "(required)"
    return f"(required by {', '.join(needing)})" if needing else ""


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


def _default(name: str, field: str) -> str:
    match _default_value(name, field):
        case dataclasses.MISSING | None | b"" | () | "":
            return ""
        case bool(value):
            return str(value).lower()
        case (Address() as value,):
            return str(value)
        case float(value):
            return f"{value:g}"
        case Tokens(all=()):
            return "none"
        case value:
            return str(value)


def _default_value(name: str, field: str) -> Any:
    if name in DECLARED:
        return next(key.default for key in DECLARED[name] if key.name == field)
    return next(one.default for one in dataclasses.fields(CLASSES[name]) if one.name == field)
