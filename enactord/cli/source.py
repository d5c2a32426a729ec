"""Where a verb's document comes from: the store that the config names, or an enactor over HTTP, with the same keys."""

from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from enactord.cli.program import Refused, enactor_url
from enactord.core.refusal import Denied

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote

T = TypeVar("T")


def read(
    over_http: "Callable[[Remote], T]", by_store: "Callable[[Tools], Awaitable[T]]", *, wait_s: float | None = None
) -> T:
    """Return what a verb shows: as an enactor has it where --url names one, else by the store of the config.

    `wait_s`: how long a publication by the store waits for a report of an enactor, where it is not as
    long as usual. Each way is imported when it is taken: a short command spends most of its time so.
    """
    url = enactor_url()
    if not url:
        from enactord.cli.opening import run_with_tools

        return run_with_tools(by_store, wait_s=wait_s)
    from enactord.cli.remote import Remote, open_client

    with closing(open_client(url)) as client:
        return over_http(Remote(client))


def ask(
    over_http: "Callable[[Remote], T]",
    by_store: "Callable[[Tools], Awaitable[T | Denied]]",
    *,
    wait_s: float | None = None,
) -> T | Denied:
    """Do what `read` does for what may be refused."""
    try:
        return read(over_http, by_store, wait_s=wait_s)
    except Refused as error:
        return error.denied
