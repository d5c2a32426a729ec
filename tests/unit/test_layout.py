"""The table of stored things: each is declared once, says its format, and nothing else builds keys."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from enactord.store.keys import Keys
from enactord.store.layout import KINDS, Kind, OtherFormat, split_name

PRODUCT = Path(__file__).resolve().parents[2] / "enactord"
MAY_BUILD_KEYS = {"store/layout.py", "store/keys.py", "backends/skydns/zone.py"}
"""The last has keys of its own, in the etcd of a DNS server."""
MAY_TAKE_THE_ROOT = {"store/keys.py", "operations/archive.py", "operations/news.py", "store/cache.py"}
"""Those that read or watch a scope as a whole."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_value_of_another_format_is_told_from_damage(kind: Kind) -> None:
    """Both numbers and the version to start are named; what has no sound first line is damage."""
    value = kind.value(b"body\n")
    assert value.startswith(f"{kind.name} {kind.format}\n".encode())
    assert kind.body(value) == b"body\n"
    other = kind.body(b"%s %d\nwhatever" % (kind.name.encode(), kind.format + 1))
    assert other == OtherFormat(kind=kind.name, found=kind.format + 1, reads=kind.format)
    assert f"version that writes format {kind.format + 1}" in str(other)
    damaged = (b"", b"junk", value[1:], value[:-6], kind.name.encode() + b" 0\n", kind.name.encode() + b" 02\n")
    assert [kind.body(one) for one in damaged] == [None] * len(damaged)
    assert kind.body(b"another 1\nbody") is None


def test_no_two_kinds_are_alike() -> None:
    """Each key is of one kind, and each value says of which: no prefix or name stands within another."""
    prefixes, names = [kind.prefix for kind in KINDS], [kind.name for kind in KINDS]
    assert len(set(names)) == len(KINDS)
    assert not [(a, b) for a in prefixes for b in prefixes if a != b and b.startswith(a)]
    keys = Keys("s")
    for kind in KINDS:
        name = "" if kind.single else "a/b"
        assert keys.split(keys.key(kind, name)) == (kind, name)


@pytest.mark.parametrize("name", ["", "heads", "head/x", "control/", "control/other", "policies/alice", "plans"])
def test_a_key_of_no_kind_is_unknown(name: str) -> None:
    """It may be a newer version's: nobody here takes it for one of ours."""
    assert split_name(name)[0] is None


def test_what_is_copied_is_cached() -> None:
    """The copy on local disk is made from the cache; chunks alone come to it another way."""
    assert [kind.name for kind in KINDS if kind.copied and not kind.cached] == ["chunk"]
    assert not [kind.name for kind in KINDS if kind.leased and kind.copied]


def test_every_kind_is_told_of() -> None:
    """ARCHITECTURE.md says of each kind what its values hold."""
    text = (PRODUCT.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert [kind.name for kind in KINDS if f"| `{kind.prefix}" not in text] == []


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PRODUCT.rglob("*.py")):
        yield path.relative_to(PRODUCT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_keys_are_built_in_one_place() -> None:
    """No other module spells a prefix of the table, or adds to a scope's root."""
    prefixes = {kind.prefix for kind in KINDS if "/" in kind.prefix}
    found = [
        f"{name}:{node.lineno}: {node.value!r}"
        for name, tree in sources()
        if name not in MAY_BUILD_KEYS
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value.lstrip("/").startswith(tuple(prefixes)) or node.value.startswith("/enactord/")
    ]
    assert not found, "take keys from store/keys.py, and declare kinds in store/layout.py"
    roots = [
        f"{name}:{node.lineno}"
        for name, tree in sources()
        if name not in MAY_TAKE_THE_ROOT
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "root" and "keys" in ast.unparse(node.value)
    ]
    assert not roots, "a key below the root belongs to a kind of store/layout.py"


def test_kinds_are_declared_in_the_table_alone() -> None:
    """A kind outside the table would be written, and neither backed up nor restored."""
    found = [
        f"{name}:{node.lineno}"
        for name, tree in sources()
        if name != "store/layout.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Kind" and node.keywords
    ]
    assert not found
