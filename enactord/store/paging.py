"""Reading many keys without holding them all: page by page."""

from collections.abc import AsyncIterator

from enactord.core.kv import Item, prefix_end
from enactord.ports import Reading

_ITEMS_A_PAGE = 512


async def items_under(store: Reading, prefix: str, *, revision: int = 0) -> AsyncIterator[Item]:
    """Yield every item under a prefix in order of key, as of a revision (0: each page as it is then).

    Raises `StoreDown`, `Compacted`.
    """
    start, end = prefix, prefix_end(prefix)
    while True:
        page = await store.range(start, end, revision=revision, limit=_ITEMS_A_PAGE)
        for item in page.items:
            yield item
        if not page.more or not page.items:
            return
        start = page.items[-1].key + "\0"
