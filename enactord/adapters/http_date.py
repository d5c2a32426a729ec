"""The clock of an etcd: its gRPC messages have no time, and its HTTP answers do.

Source: RFC 9110 section 6.6.1 (Date); Go's net/http, which etcd serves with, sets it on every answer.
"""

import asyncio
import ssl
from email.utils import parsedate_to_datetime

import aiohttp

from enactord.adapters.tls import BadCertificate, Tls, load_pair


async def ask_clock(endpoint: str, tls: Tls, timeout_s: float) -> float | None:
    """Return an etcd's clock in seconds since the epoch, to the second; None where it does not tell."""
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
            return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (aiohttp.ClientError, OSError, TimeoutError, KeyError, ValueError, BadCertificate):
        return None
