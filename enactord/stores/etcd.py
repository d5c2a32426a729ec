"""The plan store in etcd, by etcd's API as the etcd3 package has it, on a grpc.aio channel.

etcd3's own client blocks, so only its description of the API is used. Several endpoints: one channel each;
a call goes to the one that answered last, and moves on when it cannot be reached. A
transaction whose answer was lost is never sent again: it is `StoreUnknown`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc

from enactord.core.errors import Compacted, LeaseLost, StoreDown, StoreUnknown
from enactord.core.kv import MAX_OPERATIONS, Changes, Compare, Item, Operation, Page, Result, check_transaction
from enactord.stores.etcd_api import Service, message
from enactord.stores.etcd_messages import (
    AnswerTooLarge,
    TokenIsOld,
    changes_of,
    item_of,
    reading,
    transaction,
    translated,
    watching,
)
from enactord.wire.tls import Tls

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]

_RangeRequest = message("RangeRequest")
_LeaseGrantRequest = message("LeaseGrantRequest")
_LeaseKeepAliveRequest = message("LeaseKeepAliveRequest")
_LeaseRevokeRequest = message("LeaseRevokeRequest")
_CompactionRequest = message("CompactionRequest")
_AuthenticateRequest = message("AuthenticateRequest")

_PAGE_ITEMS = 256
_GETS_IN_FLIGHT = 4
_MESSAGE_BYTES_MAX = 64 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
    # A peer that is gone without a word is found out within 10 s, by pings while a watch is open. Without
    # ping_timeout_ms (60 s unless told) grpcio 1.85 lets the keep-alive's own timeout pass unnoticed.
    # etcd closes a connection that pings more often than each 5 s, or at all while no call is under way.
    # Source: etcd --grpc-keepalive-min-time default; grpc-go keepalive.EnforcementPolicy.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.http2.ping_timeout_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # How long a connection may take to come about, whatever its name says (20 s unless told): an etcd that is far
    # or busy needs more than a few round trips' time, and one that is gone should not keep us from the next.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
    # The members are named by address in the config. A proxy that the environment names (http_proxy, https_proxy,
    # grpc_proxy) would see the store's traffic, and often cannot reach it at all.
    ("grpc.enable_http_proxy", 0),
)
_TRY_AGAIN_S = 2.0
"""Between two attempts to reach etcd with the certificates that came last, while the ones before still work."""
_REFUSALS = frozenset(
    {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT}
)
"""Answers of an etcd that a connection reaches, though the call itself is not allowed."""
_REQUIRE_LEADER = ("hasleader", "true")
"""Else a watch on a member that is cut off from its leader stays silent for ever. Source: etcd rpctypes."""


class _Peer:
    """One endpoint: its channel and stubs."""

    def __init__(self, endpoint: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.endpoint = endpoint
        self.retired = False
        """Others took its place: no new call goes here, and what ends here goes on there."""
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
        else:
            self.channel = grpc.aio.secure_channel(endpoint, credentials, options=_OPTIONS)
        self.kv = Service("KV", self.channel)
        self.watch = Service("Watch", self.channel)
        self.lease = Service("Lease", self.channel)
        self.auth = Service("Auth", self.channel)


class EtcdStore:
    """Implements `KeyValue`. Make it with `EtcdStore.connect`."""

    def __init__(self, endpoints: Sequence[str], tls: Tls, *, username: str, password: str, timeout_s: float) -> None:
        self._endpoints = tuple(endpoints)
        self._tls = tls
        self._peers = self._peers_with(tls)
        self._newer: list[_Peer] = []
        """Peers with the certificates that came last, until they take the place of the others."""
        self._trying: asyncio.Task[None] | None = None
        self._ending: dict[_Peer, asyncio.Task[None]] = {}
        self._current = 0
        self._username = username
        self._password = password
        self._timeout_s = timeout_s
        self._token = ""
        self._signing_in = asyncio.Lock()
        self._closed = False

    @classmethod
    def connect(
        cls,
        endpoints: Sequence[str],
        *,
        tls: Tls | None = None,
        username: str = "",
        password: str = "",
        timeout_s: float = 5.0,
    ) -> "EtcdStore":
        """Return a store; connections are made at the first call, so etcd may be down now."""
        return cls(endpoints, tls or Tls(), username=username, password=password, timeout_s=timeout_s)

    @property
    def renewing(self) -> bool:
        """Whether connections with other certificates than the latest are used, or still being ended."""
        return bool(self._newer or self._ending)

    def renew(self, tls: Tls, password: str) -> None:
        """Use these certificates and this password from now on, without a break.

        The connections that are there go on until a new one has got an answer, or until none of them can be
        used any more. So a certificate that etcd does not accept yet ends nothing.
        """
        self._password = password
        if tls == self._tls or self._closed:
            return
        self._tls = tls
        self._retire(self._newer)
        self._newer = self._peers_with(tls)
        if self._trying is None or self._trying.done():
            self._trying = asyncio.create_task(self._try_newer(), name="store-certificates")

    # -- the port

    async def range(self, start: str, end: str = "", *, revision: int = 0, limit: int = 0) -> Page:
        # Paged at one revision: a large scope in one answer would pass gRPC's limits and stall both sides.
        items: list[Item] = []
        at, following, page_items = revision, start, _PAGE_ITEMS
        begun_anew = False
        while True:
            most = min(page_items, limit - len(items)) if limit else page_items
            request = _RangeRequest(
                key=following.encode(), range_end=end.encode(), revision=at, limit=most if end else 0
            )
            try:
                answer = await self._call(lambda peer: peer.kv.Range, request, idempotent=True)
            except AnswerTooLarge:
                if not end or most == 1:
                    raise
                page_items = most // 2
                continue
            except Compacted as error:
                if revision or begun_anew:
                    raise Compacted(at + 1) from error
                # Compacted between two pages: the newest was asked for, not that revision.
                items, at, following, begun_anew = [], 0, start, True
                continue
            items.extend(item_of(kv) for kv in answer.kvs)
            # Not the last page's: the items are as of the first, and who watches from there on must miss nothing.
            at = at or answer.header.revision
            if not answer.more or (limit and len(items) >= limit):
                return Page(revision=at, items=tuple(items), more=answer.more)
            following = items[-1].key + "\0"

    async def get(self, keys: Sequence[str]) -> dict[str, Item]:
        found: dict[str, Item] = {}
        gate = asyncio.Semaphore(_GETS_IN_FLIGHT)

        async def some(portion: Sequence[str]) -> None:
            try:
                async with gate:
                    answer = await self._call(lambda peer: peer.kv.Txn, reading(portion), idempotent=True)
            except AnswerTooLarge:
                if len(portion) == 1:
                    raise
                half = len(portion) // 2
                await some(portion[:half])
                await some(portion[half:])
                return
            for response in answer.responses:
                for kv in response.response_range.kvs:
                    item = item_of(kv)
                    found[item.key] = item

        if len(keys) == 1:
            page = await self.range(keys[0])
            return {item.key: item for item in page.items}
        await _all(some(keys[start : start + MAX_OPERATIONS]) for start in range(0, len(keys), MAX_OPERATIONS))
        return found

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        check_transaction(compares, operations)
        request = transaction(compares, operations)
        answer = await self._call(lambda peer: peer.kv.Txn, request, idempotent=False)
        return Result(succeeded=answer.succeeded, revision=answer.header.revision)

    async def watch(self, prefix: str, *, start_revision: int) -> AsyncIterator[Changes]:
        peer = self._peers[self._current]
        call: Any = None
        following = start_revision
        try:
            while True:
                try:
                    if call is None:
                        call, found = await self._watch_begun(peer, watching(prefix, following))
                    else:
                        with self._translating(peer, lossy=False):
                            answer = await call.read()
                        found = changes_of(answer, peer.endpoint)
                except StoreDown:
                    if not peer.retired or self._closed:
                        raise
                    # Its certificates were replaced: the watch goes on over the newer ones, where it was.
                    peer, call = self._peers[self._current], None
                    continue
                for changes in found:
                    following = changes.revision + 1
                    yield changes
        except StoreDown:
            self._move_on(peer)
            raise
        finally:
            if call is not None:
                call.cancel()

    async def grant(self, ttl_s: int) -> int:
        answer = await self._call(lambda peer: peer.lease.LeaseGrant, _LeaseGrantRequest(TTL=ttl_s), idempotent=True)
        lease: int = answer.ID
        return lease

    async def keep_alive(self, lease: int) -> None:
        async def once(peer: _Peer, metadata: Metadata) -> Any:
            call = peer.lease.LeaseKeepAlive(metadata=metadata, timeout=self._timeout_s)
            try:
                await call.write(_LeaseKeepAliveRequest(ID=lease))
                answer = await call.read()
                if answer is grpc.aio.EOF:
                    raise StoreDown(f"{peer.endpoint}: the keep-alive stream ended")
                return answer
            finally:
                call.cancel()

        answer = await self._over_peers(once, idempotent=True)
        if answer.TTL <= 0:
            raise LeaseLost(f"lease {lease} is gone")

    async def revoke(self, lease: int) -> None:
        try:
            await self._call(lambda peer: peer.lease.LeaseRevoke, _LeaseRevokeRequest(ID=lease), idempotent=True)
        except LeaseLost:
            pass

    async def close(self) -> None:
        self._closed = True
        ending = [task for task in (self._trying, *self._ending.values()) if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for peer in (*self._peers, *self._newer, *self._ending):
            await peer.channel.close()

    async def compact(self, revision: int) -> None:
        """Let etcd forget what was before a revision (an operator's job; used by tests)."""
        request = _CompactionRequest(revision=revision, physical=True)
        await self._call(lambda peer: peer.kv.Compact, request, idempotent=True)

    # -- calls

    async def _call(self, method: Callable[[_Peer], Any], request: Any, *, idempotent: bool) -> Any:
        async def once(peer: _Peer, metadata: Metadata) -> Any:
            return await method(peer)(request, timeout=self._timeout_s, metadata=metadata)

        return await self._over_peers(once, idempotent=idempotent)

    async def _over_peers(self, once: Callable[[_Peer, Metadata], Awaitable[T]], *, idempotent: bool) -> T:
        """Call the current peer, and others where it cannot be reached; a transaction is sent at most once."""
        failures, signed_in_anew = 0, False
        while True:
            peer = self._peers[self._current]
            try:
                metadata = await self._metadata(peer)
                with self._translating(peer, lossy=not idempotent):
                    return await once(peer, metadata)
            except TokenIsOld:
                if signed_in_anew or not self._username:
                    raise
                signed_in_anew = True
                self._forget(metadata)
            except StoreUnknown:
                self._move_on(peer)
                raise
            except StoreDown:
                if peer.retired and not self._closed:
                    continue
                self._move_on(peer)
                failures += 1
                if self._closed:
                    raise
                if failures >= len(self._peers):
                    if not self._newer:
                        raise
                    self._take_newer(0)
                    failures = 0

    async def _watch_begun(self, peer: _Peer, request: Any) -> tuple[Any, list[Changes]]:
        """Return a watch's stream and its first news."""
        signed_in_anew = False
        while True:
            metadata = await self._metadata(peer)
            with self._translating(peer, lossy=False):
                call = peer.watch.Watch(metadata=metadata)
                begun = False
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await call.write(request)
                        answer = await call.read()
                    found = changes_of(answer, peer.endpoint)
                    begun = True
                    return call, found
                except TokenIsOld:
                    if signed_in_anew or not self._username:
                        raise
                    signed_in_anew = True
                    self._forget(metadata)
                finally:
                    if not begun:
                        call.cancel()

    @contextmanager
    def _translating(self, peer: _Peer, *, lossy: bool) -> Iterator[None]:
        """Raise our errors for gRPC's; `lossy`: what is in here may be carried out without an answer."""
        unanswered = StoreUnknown if lossy else StoreDown
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise translated(error, peer.endpoint, lossy=lossy) from error
        except grpc.aio.UsageError as error:  # what a closed channel says
            raise StoreDown(f"{peer.endpoint}: the store is closed") from error
        except (TimeoutError, asyncio.InvalidStateError) as error:
            raise unanswered(f"{peer.endpoint}: no answer in {self._timeout_s:g} s") from error
        except asyncio.CancelledError as error:
            # A closed channel cancels its calls, which must not look as if our caller were cancelled.
            task = asyncio.current_task()
            if not (self._closed or peer.retired) or (task is not None and task.cancelling()):
                raise
            raise unanswered(f"{peer.endpoint}: the store is closed") from error

    # -- certificates

    def _peers_with(self, tls: Tls) -> list[_Peer]:
        credentials = None
        if tls:
            credentials = grpc.ssl_channel_credentials(
                root_certificates=tls.ca or None, private_key=tls.key or None, certificate_chain=tls.cert or None
            )
        return [_Peer(endpoint, credentials) for endpoint in self._endpoints]

    async def _try_newer(self) -> None:
        """Ask with the newer certificates until one etcd answers; then they take the place of the others."""
        while self._newer:
            for index, peer in enumerate(self._newer):
                if await self._answers(peer):
                    if peer in self._newer:  # else still newer ones came meanwhile
                        self._take_newer(index)
                    break
            else:
                await asyncio.sleep(_TRY_AGAIN_S)

    async def _answers(self, peer: _Peer) -> bool:
        """Whether an etcd answers over a connection, be it by a refusal."""
        try:
            await peer.kv.Range(_RangeRequest(key=b"/", serializable=True, limit=1), timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            return error.code() in _REFUSALS
        except grpc.aio.UsageError:  # it was closed: still newer ones came meanwhile
            return False
        except asyncio.CancelledError:  # it was closed while it was asked
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return False
        return True

    def _take_newer(self, index: int) -> None:
        """Let the newer peers take the place of the others, and begin with this one."""
        before, self._peers, self._newer = self._peers, self._newer, []
        self._current = index
        self._retire(before)

    def _retire(self, peers: Sequence[_Peer]) -> None:
        """Send nothing new to some peers; calls that are under way have their time to end."""
        for peer in peers:
            peer.retired = True
            self._ending[peer] = asyncio.create_task(self._end(peer), name="store-retire")

    async def _end(self, peer: _Peer) -> None:
        await peer.channel.close(self._timeout_s)
        del self._ending[peer]

    def _move_on(self, peer: _Peer) -> None:
        if self._peers[self._current] is peer:
            self._current = (self._current + 1) % len(self._peers)

    async def _metadata(self, peer: _Peer) -> Metadata:
        if not self._username:
            return (_REQUIRE_LEADER,)
        with self._translating(peer, lossy=False):
            async with asyncio.timeout(self._timeout_s):
                # One at a time: etcd takes some 50 ms of processor for each password, and all wait for the same token.
                async with self._signing_in:
                    if not self._token:
                        request = _AuthenticateRequest(name=self._username, password=self._password)
                        self._token = (await peer.auth.Authenticate(request, timeout=self._timeout_s)).token
                    return (_REQUIRE_LEADER, ("token", self._token))

    def _forget(self, metadata: Metadata) -> None:
        """Drop the token that was refused, unless another call has a new one already."""
        if ("token", self._token) in metadata:
            self._token = ""


async def _all(steps: Any) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            for step in steps:
                tasks.create_task(step)
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
