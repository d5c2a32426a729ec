"""The clock of an etcd: its gRPC messages have no time, and its HTTP answers do.

Source: RFC 9110 section 6.6.1 (Date); Go's net/http, which etcd serves with, sets it on every answer.
"""

import asyncio
import ssl
from email.utils import parsedate_to_datetime

import aiohttp

from enactord.core.errors import StoreDown
from enactord.wire.tls import Tls, load_pair


async def ask_clock(endpoint: str, tls: Tls, timeout_s: float) -> float | None:
    """Return an etcd's clock in seconds since the epoch, to the second; None where its answer does not tell.

    Raises `StoreDown` where there is no answer.
    """
    context: ssl.SSLContext | bool = True
    url = f"{'https' if tls else 'http'}://{endpoint}/version"
    try:
        if tls:
            context = ssl.create_default_context(cadata=tls.ca.decode("ascii") or None)
            if tls.cert:
                load_pair(context, tls.cert, tls.key)
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(trust_env=False) as client,
            client.get(url, ssl=context) as answer,
        ):
            told = answer.headers.get("Date", "")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise StoreDown(f"{endpoint}: {str(error) or 'no answer'}") from error
    try:
        return parsedate_to_datetime(told).timestamp()
    except ValueError:
        return None
