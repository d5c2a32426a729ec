"""Chunks in the store: read and put by the digest of their text."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from enactord.core.errors import PlanUnreadable
from enactord.core.kv import Operation, Put
from enactord.ports import Reading, Transacting
from enactord.store.keys import Keys, chunk_value, read_chunk

_PUTS_A_TRANSACTION = 100
_BYTES_A_TRANSACTION = 512 * 1024
_TRANSACTIONS_IN_FLIGHT = 4


async def read_chunks(
    store: Reading, keys: Keys, digests: Collection[str], known: Mapping[str, bytes]
) -> dict[str, str]:
    """Return the chunks' texts by digest, those in `known` without asking the store.

    Raises `PlanUnreadable` if one is missing or damaged.
    """
    texts, problems = await readable_chunks(store, keys, digests, known)
    if problems:
        raise problems[0]
    return texts


async def readable_chunks(
    store: Reading, keys: Keys, digests: Collection[str], known: Mapping[str, bytes] = {}
) -> tuple[dict[str, str], list[PlanUnreadable]]:
    """Return the texts, by digest, of those chunks that are there and as their digests say; and what the others are."""
    asked = sorted(set(digests) - known.keys())
    found = await store.get([keys.chunk(digest) for digest in asked]) if asked else {}
    texts: dict[str, str] = {}
    problems: list[PlanUnreadable] = []
    for digest in sorted(digests):
        item = found.get(keys.chunk(digest))
        packed = known.get(digest) if item is None else item.value
        try:
            if packed is None:
                raise PlanUnreadable(f"chunk {digest} is not in the store")
            texts[digest] = read_chunk(packed, digest)
        except PlanUnreadable as error:
            problems.append(error)
    return texts, problems


async def put_chunks(store: Transacting, keys: Keys, texts: Mapping[str, str]) -> None:
    """Put chunks, several transactions in flight; a chunk is its digest's, so putting it twice does no harm.

    Raises `InvalidPlan`, `StoreDown`.
    """
    batches: list[list[Operation]] = []
    size = _BYTES_A_TRANSACTION
    for digest, text in texts.items():
        put = Put(key=keys.chunk(digest), value=chunk_value(text))
        if not batches or size + len(put.value) > _BYTES_A_TRANSACTION or len(batches[-1]) == _PUTS_A_TRANSACTION:
            batches.append([])
            size = 0
        batches[-1].append(put)
        size += len(put.value)
    gate = asyncio.Semaphore(_TRANSACTIONS_IN_FLIGHT)

    async def put_batch(batch: Sequence[Operation]) -> None:
        async with gate:
            await store.transact((), batch)

    try:
        async with asyncio.TaskGroup() as tasks:
            for batch in batches:
                tasks.create_task(put_batch(batch))
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
