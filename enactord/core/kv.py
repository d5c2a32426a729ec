"""What is put into and comes out of the key-value port: items, compares, operations, events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Operator = Literal["=", "!=", "<", ">"]
MAX_OPERATIONS = 128
"""Most compares, and most operations in one branch, of a transaction. Source: etcd --max-txn-ops default."""
MAX_REQUEST_BYTES = 1_500_000
"""Largest transaction, a little below etcd's 1.5 MiB. Source: etcd --max-request-bytes default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A key with its value and revisions, as etcd defines them: `version` is 1 at creation."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """A condition of a transaction.

    Of a key that is missing, `mod`, `create` and `version` are 0 and a compare
    of `value` is false whatever the operator. With `prefix` the condition must hold for
    every key that starts with `key`, and holds when there is none.
    """

    key: str
    field: Literal["value", "mod", "create", "version"]
    operator: Operator
    operand: bytes | int
    prefix: bool = False


def absent(key: str) -> Compare:
    """The key does not exist."""
    return Compare(key=key, field="version", operator="=", operand=0)


def present(key: str) -> Compare:
    """The key exists."""
    return Compare(key=key, field="version", operator=">", operand=0)


def none_under(prefix: str) -> Compare:
    """No key starts with the prefix."""
    return Compare(key=prefix, field="version", operator="=", operand=0, prefix=True)


def unmodified(key: str, mod_revision: int) -> Compare:
    """The key is as it was at that modification; 0: it does not exist."""
    return Compare(key=key, field="mod", operator="=", operand=mod_revision)


def valued(key: str, value: bytes, operator: Operator = "=") -> Compare:
    """The key exists and its value compares so, byte by byte."""
    return Compare(key=key, field="value", operator=operator, operand=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Set a key; attach it to the lease (0: to none)."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove a key, or with `prefix` every key that starts with it. A missing one is no error."""

    key: str
    prefix: bool = False


Operation = Put | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Whether all compares held (and the operations were done), and the store's revision after it."""

    succeeded: bool
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Items in order of key, all as of `revision`; `more` when a limit cut the answer short."""

    revision: int
    items: tuple[Item, ...]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """One change of a key; `item` is None where it was deleted (or its lease expired)."""

    key: str
    item: Item | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """All that happened under a prefix up to `revision`, since the last such value, in order."""

    revision: int
    events: tuple[KeyChange, ...]


def prefix_end(prefix: str) -> str:
    """Return the first key after all that start with a (non-empty, ASCII) prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def check_transaction(compares: Sequence[Compare], operations: Sequence[Operation]) -> None:
    """Raise ValueError for what etcd would refuse: too many operations, a key twice, too many bytes."""
    if len(compares) > MAX_OPERATIONS or len(operations) > MAX_OPERATIONS:
        raise ValueError(f"{len(compares)} compares, {len(operations)} operations: at most {MAX_OPERATIONS} of each")
    keys = [operation.key for operation in operations]
    if len(set(keys)) != len(keys):
        raise ValueError("a key is changed twice in one transaction")
    prefixes = [operation.key for operation in operations if isinstance(operation, Delete) and operation.prefix]
    if any(key != prefix and key.startswith(prefix) for prefix in prefixes for key in keys):
        raise ValueError("a key is changed under a prefix that is deleted in the same transaction")
    size = sum(len(operation.key) + len(operation.value) for operation in operations if isinstance(operation, Put))
    size += sum(len(c.key) + len(c.operand) for c in compares if isinstance(c.operand, bytes))
    if size > MAX_REQUEST_BYTES:
        raise ValueError(f"{size:,} bytes in one transaction, at most {MAX_REQUEST_BYTES:,}")


def holds(compare: Compare, item: Item | None) -> bool:
    """Whether a compare holds for one key's item (None: missing)."""
    if compare.field == "value":
        return item is not None and _ordered(item.value, compare.operator, compare.operand)
    if item is None:
        return _ordered(0, compare.operator, compare.operand)
    found = {"mod": item.mod_revision, "create": item.create_revision, "version": item.version}[compare.field]
    return _ordered(found, compare.operator, compare.operand)


def _ordered(left: Any, operator: Operator, right: Any) -> bool:
    match operator:
        case "=":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case ">":
            return bool(left > right)
