"""The one place where zones change: updates, worked out and put on disk group by group.

Whatever arrives while a group is being written waits and forms the next one, so the
cost of a flush is shared without any timer. A group is applied only when it is on disk:
nobody is ever served what a crash could take back.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from enactord.dns_server.answers import NOERROR, SERVFAIL
from enactord.dns_server.journal import Journal, ZoneNodes
from enactord.dns_server.responder import PendingUpdate
from enactord.dns_server.update import Rejected, evaluate
from enactord.dns_server.zone import Draft, Zone

_GROUP_MAX = 64
_EVALUATED_AT_ONCE = 4


class Writer:
    """Carries out updates in the order in which they came.

    Beyond `queue_bytes_max` it is `full`: connections then stop reading, and updates
    over UDP are dropped.
    """

    def __init__(
        self,
        zones: Mapping[bytes, Zone],
        journal: Journal | None,
        *,
        dormant: ZoneNodes,
        journal_bytes_max: int,
        queue_bytes_max: int,
        changed: Callable[[], None],
        drained: Callable[[], None],
        problem: Callable[[str], None],
    ) -> None:
        self._zones = zones
        self._journal = journal
        self._dormant = dormant
        self._journal_bytes_max = journal_bytes_max
        self._snapshot_at = journal_bytes_max
        self._queue_bytes_max = queue_bytes_max
        self._changed = changed
        self._drained = drained
        self._problem = problem
        self._queue: deque[tuple[PendingUpdate, Callable[[int], None]]] = deque()
        self._queue_bytes = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._was_full = False
        self._broken = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedded-dns-journal")
        self.groups = 0
        self.applied = 0
        self.refused = 0

    @property
    def full(self) -> bool:
        return self._queue_bytes > self._queue_bytes_max

    @property
    def waiting(self) -> int:
        """Updates in the queue."""
        return len(self._queue)

    def submit(self, update: PendingUpdate, done: Callable[[int], None]) -> None:
        """Queue an update; `done` is called with its rcode once it is on disk or refused."""
        self._queue.append((update, done))
        self._queue_bytes += len(update.request.message)
        self._was_full = self._was_full or self.full
        self._wake.set()

    async def run(self) -> None:
        """Work until `close`; what is queued then is neither carried out nor answered."""
        while not self._closing:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and not self._closing:
                group = [self._queue.popleft() for _ in range(min(_GROUP_MAX, len(self._queue)))]
                self._queue_bytes -= sum(len(update.request.message) for update, _ in group)
                await self._carry_out(group)
                if self._was_full and not self.full:
                    self._was_full = False
                    self._drained()

    def close(self) -> None:
        """Let `run` end after the group in hand."""
        self._closing = True
        self._wake.set()

    def release(self) -> None:
        """End the thread, when `run` has ended."""
        self._thread.shutdown(wait=True)

    async def _carry_out(self, group: list[tuple[PendingUpdate, Callable[[int], None]]]) -> None:
        drafts: dict[bytes, Draft] = {}
        rcodes: list[int] = []
        for index, (update, _) in enumerate(group):
            if index % _EVALUATED_AT_ONCE == _EVALUATED_AT_ONCE - 1:
                await asyncio.sleep(0)  # let questions be answered in between
            zone = update.zone
            if zone.origin not in drafts:
                drafts[zone.origin] = Draft(zone)
            rcodes.append(self._evaluate(update, drafts[zone.origin]))
        changes = {origin: draft.changed for origin, draft in drafts.items() if draft.changed}
        if changes and not await self._on_disk(changes):
            rcodes = [SERVFAIL if rcode == NOERROR else rcode for rcode in rcodes]
        elif changes:
            for origin, nodes in changes.items():
                zone = self._zones[origin]
                for name, node in nodes.items():
                    zone.replace(name, node)
            self._changed()
        self.groups += 1
        for (_, done), rcode in zip(group, rcodes, strict=True):
            if rcode == NOERROR:
                self.applied += 1
            else:
                self.refused += 1
            done(rcode)
        if self._journal is not None and self._journal.size > self._snapshot_at and not self._broken:
            await self._snapshot(self._journal)

    def _evaluate(self, update: PendingUpdate, draft: Draft) -> int:
        request = update.request
        try:
            change = evaluate(draft, update.zone.origin, request.message, request.prerequisites, request.updates)
        except Rejected as rejected:
            return rejected.rcode
        except Exception as error:  # a bug of ours; one message must not stop all others
            self._problem(f"working out an update failed: {error!r}")
            return SERVFAIL
        draft.changed.update(change.changed)
        return NOERROR

    async def _on_disk(self, changes: ZoneNodes) -> bool:
        if self._journal is None:
            return True
        if self._broken:
            return False
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._journal.append, changes)
        except OSError as error:
            # What of the entry reached the disk is not known, and a second flush would not tell
            # (the kernel drops pages that failed): only a restart, which reads the file, does.
            self._broken = True
            self._problem(f"the journal cannot be written, no update is accepted until a restart: {error}")
            return False
        return True

    async def _snapshot(self, journal: Journal) -> None:
        zones = {**self._dormant, **{origin: zone.nodes() for origin, zone in self._zones.items()}}
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, journal.snapshot, zones)
        except OSError as error:
            self._problem(f"no snapshot could be written, the journal grows on: {error}")
            self._snapshot_at = journal.size + self._journal_bytes_max
        else:
            self._snapshot_at = max(self._journal_bytes_max, 2 * journal.snapshot_size)
