"""A zone hosted by Route 53.

Every write is one batch, which Route 53 carries out whole or not at all. It has a DELETE and a CREATE
of the fence's TXT: the DELETE fails unless the fence is exactly the one that was read, and
with it the batch. So do the DELETEs of the record sets that the write replaces, each as it was
read. What Route 53 cannot compare is that nothing stands at a name: a set that another
program creates between reading and writing fails our CREATE only if it is plain, or has our
set's identifier; a weighted set of another identifier stands beside ours, and is found as drift.

An answer of the API says that a change is accepted (PENDING); a name is served once the
change is INSYNC. `read` waits for that, so that nothing counts as seen before.
Source: Route 53 API, ChangeResourceRecordSets, ListResourceRecordSets, GetChange.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from enactord.backends.route53.api import ApiError, Route53Api
from enactord.backends.route53.sets import (
    RecordSet,
    batch,
    fence_of,
    fence_set,
    name_of,
    negative_ttl_of,
    order,
    served_of,
    sets_of,
    steps_of,
    too_large,
    violated,
)
from enactord.core.errors import ZoneDown, ZoneOdd
from enactord.core.fence import FenceSeen
from enactord.core.names import fence_name
from enactord.core.records import Committed, Outcome, Reason, Refused, Served, Transaction, Unknown

PAGE_ITEMS_MAX = 300
"""Source: Route 53 API, ListResourceRecordSets."""
IN_SYNC_WAIT_S = 120.0
"""How long `read` waits for the changes of what it reads; usual is less than 60 s."""

_ATTEMPTS = 3
_POLL_CAP_S = 5.0
_REASONS = {"busy": Reason.BUSY, "denied": Reason.DENIED, "content": Reason.CONTENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    """A change of ours that is not INSYNC, as far as is known."""

    id: str
    names: frozenset[str]


class Route53Zone:
    """One hosted zone; implements `Zone`, and reads for verifying. It does not close the API.

    Writes of one zone go one after the other: Route 53 refuses a batch while it works on
    another of the same zone. `poll_s` is the first pause between questions whether a change is INSYNC.
    """

    def __init__(
        self, name: str, api: Route53Api, *, zone_id: str, poll_s: float = 1.0, in_sync_wait_s: float = IN_SYNC_WAIT_S
    ) -> None:
        self._name = name
        self._api = api
        self._zone_id = zone_id
        self._poll_s = poll_s
        self._in_sync_wait_s = in_sync_wait_s
        self._writing = asyncio.Lock()
        self._accepted: list[_Accepted] = []
        self._polling: asyncio.Task[None] | None = None
        self._unanswered = ""
        self._hurry = asyncio.Event()
        self._news = asyncio.Condition()
        self._closed = False

    async def read_fence(self) -> FenceSeen:
        name = fence_name(self._name)
        sets = (await self._read_sets([name]))[name]
        alias = served_of(sets).alias
        if alias is not None:
            raise ZoneOdd(f"a CNAME stands at {name}: remove it, no fence can stand beside it")
        return fence_of(sets)

    async def negative_ttl_s(self) -> int | None:
        """Read the zone's SOA record, which Route 53 sends with an empty answer as it is."""
        sets = (await self._read_sets([self._name]))[self._name]
        return negative_ttl_of(sets)

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        """Return what every DNS server of Route 53 has; a name with a change under way for too long is left out."""
        inside = [name for name in names if self._holds(name)]
        self._require_open()
        await self._wait_in_sync(frozenset(inside))
        sets = await self._read_sets(inside)
        pending = self._pending()
        found = {name: served_of(there) for name, there in sets.items() if name not in pending}
        if inside and not found:
            raise ZoneDown(f"{self._name}: {self._unanswered or 'the changes of these names are still PENDING'}")
        return found

    async def write(self, transaction: Transaction) -> Outcome:
        for change in transaction.changes:
            if not self._holds(change.name):
                raise ValueError(f"{change.name} is not in zone {self._name}")
        if not transaction.fence_seen and transaction.fence_after is None:
            return Refused(reason=Reason.CONTENT, detail="a zone without a fence is opened first")
        names = [change.name for change in transaction.changes]
        names += [required.name for required in transaction.requires]
        wanted = [one for change in transaction.changes for one in sets_of(change.name, change.after)]
        problem = too_large(wanted)
        if problem:
            return Refused(reason=Reason.CONTENT, detail=problem)
        async with self._writing:
            before: Mapping[str, Sequence[RecordSet]] | None = None
            for _ in range(_ATTEMPTS):
                try:
                    sets = await self._read_sets([fence_name(self._name), *names])
                except ZoneDown as error:
                    return Refused(reason=_reason(error), detail=str(error))
                outcome = await self._try(transaction, sets, moved=sets != before)
                if outcome is not None:
                    return outcome
                before = sets
        return Refused(reason=Reason.BUSY, detail="the names change faster than they can be read")

    async def close(self) -> None:
        self._closed = True
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def _try(
        self, transaction: Transaction, sets: Mapping[str, Sequence[RecordSet]], *, moved: bool
    ) -> Outcome | None:
        """Judge by what was read, and write; None: Route 53 found it otherwise, so read again."""
        fence_at = fence_name(self._name)
        fence = [one for one in sets[fence_at] if one["Type"] == "TXT"]
        if tuple(sorted(transaction.fence_seen)) != fence_of(fence):
            return Refused(reason=Reason.CONDITION, detail="the fence is another")
        if transaction.fence_after is not None and served_of(sets[fence_at]).alias is not None:
            return Refused(reason=Reason.CONDITION, detail="a CNAME stands where the fence belongs")
        for required in transaction.requires:
            served = served_of(sets[required.name])
            if served.alias is not None or served.records.addresses != required.records.addresses:
                return Refused(reason=Reason.CONDITION, detail=f"{required.name}: it holds something else")
        after = transaction.fence_after
        if after is None and not transaction.changes:
            return Committed()  # nothing to change: what the API says with our key is the answer
        deletes, creates = [*fence], [fence_set(fence_at, after.text)] if after is not None else [*fence]
        for change in transaction.changes:
            problem = violated(change, sets[change.name])
            if problem:
                return Refused(reason=Reason.CONDITION, detail=f"{change.name}: {problem}")
            gone, new = steps_of(change, sets[change.name])
            deletes += gone
            creates += new
        problem = too_large([*deletes, *creates])
        if problem:
            return Refused(reason=Reason.CONTENT, detail=problem)
        try:
            change_id = await self._api.change(self._zone_id, batch(deletes, creates))
        except ApiError as error:
            if error.kind == "unknown":
                return Unknown(detail=str(error))
            if error.kind != "invalid":
                return Refused(reason=_REASONS[error.kind], detail=str(error))
            # Route 53 says why in words alone. What it refuses of a zone that has not moved, it will always refuse.
            return None if moved else Refused(reason=Reason.CONDITION, detail=str(error))
        self._follow(change_id, frozenset(change.name for change in transaction.changes))
        return Committed()

    def _holds(self, name: str) -> bool:
        return name == self._name or name.endswith("." + self._name)

    # -- reading

    async def _read_sets(self, names: Sequence[str]) -> dict[str, list[RecordSet]]:
        """Return all record sets of each name; many names near each other cost one request.

        A page tells of a name that it holds whole, of the one that it was asked from, and of those
        that it passed over, provided that its names are in the order that is documented.
        """
        self._require_open()
        found: dict[str, list[RecordSet]] = {}
        waiting = sorted(dict.fromkeys(names), key=order)
        parts: dict[str, list[RecordSet]] = {}
        start: dict[str, str] = {}
        while waiting:
            start = start or {"StartRecordName": waiting[0]}
            try:
                page = await self._api.page(self._zone_id, start, items_max=PAGE_ITEMS_MAX)
            except ApiError as error:
                raise _Silent(self._name, error) from error
            for one in page["ResourceRecordSets"]:
                parts.setdefault(name_of(one), []).append(one)
            cut = name_of({"Name": page["NextRecordName"]}) if page["IsTruncated"] else None
            asked = name_of({"Name": start["StartRecordName"]})
            ordered = _in_order([asked, *(name_of(one) for one in page["ResourceRecordSets"])], cut)
            left = []
            for name in waiting:
                passed = ordered and order(asked) <= order(name) and (cut is None or order(name) < order(cut))
                if name != cut and (name in parts or name == asked or passed):
                    found[name] = parts.get(name, [])
                else:
                    left.append(name)
            waiting = left
            start = {}
            if cut in waiting:
                start = {"StartRecordName": page["NextRecordName"], "StartRecordType": page["NextRecordType"]}
                if page.get("NextRecordIdentifier"):
                    start["StartRecordIdentifier"] = page["NextRecordIdentifier"]
                waiting.sort(key=lambda name: (name != cut, order(name)))
            else:
                parts.clear()
        return found

    def _require_open(self) -> None:
        if self._closed:
            raise ZoneDown(f"{self._name}: closed")

    # -- propagation

    def _follow(self, change_id: str, names: frozenset[str]) -> None:
        self._accepted.append(_Accepted(id=change_id, names=names))
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll(), name=f"route53 {self._name}")

    async def _poll(self) -> None:
        """Ask after the oldest change until it is INSYNC, then after the next: as a rule, that is there as well."""
        pause_s = self._poll_s
        while self._accepted:
            self._hurry.clear()
            in_sync = False
            try:
                in_sync = await self._api.in_sync(self._accepted[0].id)
                self._unanswered = ""
            except ApiError as error:
                self._unanswered = f"{self._accepted[0].id} is not known to be INSYNC: {error}"
            if in_sync:
                self._accepted.pop(0)
                pause_s = self._poll_s
            async with self._news:
                self._news.notify_all()
            if not in_sync:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._hurry.wait()
                pause_s = min(_POLL_CAP_S, pause_s * 2)

    async def _wait_in_sync(self, names: frozenset[str]) -> None:
        """Wait for the changes of these names, unless Route 53 cannot be asked after them."""
        if names.isdisjoint(self._pending()):
            return
        self._unanswered = ""
        self._hurry.set()
        with contextlib.suppress(TimeoutError):  # what is under way still is left out of the answer
            async with asyncio.timeout(self._in_sync_wait_s), self._news:
                await self._news.wait_for(lambda: self._unanswered or names.isdisjoint(self._pending()))

    def _pending(self) -> frozenset[str]:
        return frozenset[str]().union(*(change.names for change in self._accepted))


class _Silent(ZoneDown):
    """Route 53 did not answer a question; `kind` is the API error's."""

    def __init__(self, zone: str, error: ApiError) -> None:
        self.kind = error.kind
        super().__init__(f"{zone}: {error}")


def _reason(error: ZoneDown) -> Reason:
    """Why a write that could not read what it replaces was not sent."""
    return Reason.DENIED if isinstance(error, _Silent) and error.kind == "denied" else Reason.BUSY


def _in_order(names: Sequence[str], cut: str | None) -> bool:
    keys = [order(name) for name in names] + ([order(cut)] if cut is not None else [])
    return all(one <= other for one, other in pairwise(keys))
