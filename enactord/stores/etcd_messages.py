"""etcd's messages and errors, from and to ours.

A message given to a constructor is copied into its parent; requests are therefore filled in place.
"""

from collections.abc import Sequence
from typing import Any

import grpc

from enactord.core.errors import Compacted, LeaseLost, StoreDown, StoreFull, StoreRefused, StoreUnknown
from enactord.core.kv import Changes, Compare, Item, KeyChange, Operation, Put, prefix_end
from enactord.stores.etcd_api import message

_Compare = message("Compare")
_TxnRequest = message("TxnRequest")
_WatchRequest = message("WatchRequest")

_OPERATORS = {
    "=": _Compare.EQUAL,
    "!=": _Compare.NOT_EQUAL,
    "<": _Compare.LESS,
    ">": _Compare.GREATER,
}
_TARGETS = {
    "value": (_Compare.VALUE, "value"),
    "mod": (_Compare.MOD, "mod_revision"),
    "create": (_Compare.CREATE, "create_revision"),
    "version": (_Compare.VERSION, "version"),
}
_DELETE_EVENT = 1
"""Source: etcd mvccpb KeyChange.EventType."""
_DOWN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
_NEVER_SENT = ("failed to connect", "connection refused", "dns resolution failed", "errors resolving")


class TokenIsOld(StoreDown):
    """The token has run out, or users and roles were changed since: sign in again. Nothing was done."""


class AnswerTooLarge(StoreRefused):
    """The answer passes our limit for a message: ask for less at a time."""


def transaction(compares: Sequence[Compare], operations: Sequence[Operation]) -> Any:
    request = _TxnRequest()
    for compare in compares:
        condition = request.compare.add()
        condition.target, field = _TARGETS[compare.field]
        condition.result = _OPERATORS[compare.operator]
        condition.key = compare.key.encode()
        setattr(condition, field, compare.operand)
        if compare.prefix:
            condition.range_end = prefix_end(compare.key).encode()
    for operation in operations:
        if isinstance(operation, Put):
            put = request.success.add().request_put
            put.key = operation.key.encode()
            put.value = operation.value
            put.lease = operation.lease
        else:
            delete = request.success.add().request_delete_range
            delete.key = operation.key.encode()
            if operation.prefix:
                delete.range_end = prefix_end(operation.key).encode()
    return request


def reading(keys: Sequence[str]) -> Any:
    """Return a transaction that reads keys, at one revision."""
    request = _TxnRequest()
    for key in keys:
        request.success.add().request_range.key = key.encode()
    return request


def watching(prefix: str, start_revision: int) -> Any:
    request = _WatchRequest()
    create = request.create_request
    create.key = prefix.encode()
    create.range_end = prefix_end(prefix).encode()
    create.start_revision = start_revision
    return request


def item_of(kv: Any) -> Item:
    return Item(
        key=kv.key.decode(),
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )


def changes_of(answer: Any, endpoint: str) -> list[Changes]:
    """Return the events of a watch's answer by revision (etcd sends a revision whole); raise what it tells else."""
    if answer is grpc.aio.EOF:
        raise StoreDown(f"{endpoint}: the watch ended")
    if answer.compact_revision:
        raise Compacted(answer.compact_revision)
    if answer.canceled:
        at = f"{endpoint}: the watch was refused: {answer.cancel_reason}"
        raise _told(answer.cancel_reason, at) or StoreDown(at)
    by_revision: dict[int, list[KeyChange]] = {}
    for event in answer.events:
        item = None if event.type == _DELETE_EVENT else item_of(event.kv)
        by_revision.setdefault(event.kv.mod_revision, []).append(KeyChange(key=event.kv.key.decode(), item=item))
    return [Changes(revision=revision, events=tuple(found)) for revision, found in by_revision.items()]


def translated(error: grpc.aio.AioRpcError, endpoint: str, *, lossy: bool) -> Exception:
    """Return our error for gRPC's; `lossy`: the call may have been carried out without an answer."""
    details = error.details() or ""
    code = error.code()
    at = f"{endpoint}: {details}"
    known = _told(details, at)
    if known is not None:
        return known
    if code in _DOWN:
        never_sent = code is grpc.StatusCode.UNAVAILABLE and any(text in details.lower() for text in _NEVER_SENT)
        return StoreUnknown(at) if lossy and not never_sent else StoreDown(at)
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        return StoreRefused(f"{at}; check store.username and password_file, and the role's permissions")
    return StoreRefused(at)


def _told(details: str, at: str) -> Exception | None:
    """Return our error for what etcd says in words. Source: etcd api/v3rpc/rpctypes for the texts."""
    if "invalid auth token" in details or "revision of auth store is old" in details:
        return TokenIsOld(at)
    if "requested lease not found" in details:
        return LeaseLost(details)
    if "required revision has been compacted" in details:
        return Compacted(0)
    if "database space exceeded" in details:
        return StoreFull(f"{at}; compact and defragment etcd, then disarm its NOSPACE alarm")
    if "request is too large" in details:
        return StoreRefused(f"{at}; raise etcd's --max-request-bytes")
    if "Received message larger than max" in details:
        return AnswerTooLarge(at)
    if "authentication failed" in details or "permission denied" in details:
        return StoreRefused(f"{at}; check store.username and password_file, and the role's permissions")
    if "user name is empty" in details:
        return StoreRefused(f"{at}; etcd wants authentication: set store.username and store.password_file")
    return None
