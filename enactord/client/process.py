"""Which process answers at an enactor's HTTP: its `/readyz` tells, to everybody."""

import asyncio
import json

import aiohttp

_BYTES_MAX = 1024 * 1024
"""Reasons and notes are far shorter; what is longer is of another program."""


async def ask_process(host: str, port: int, *, tls: bool, timeout_s: float) -> str | None:
    """Return what tells that process from others; "" where it does not tell; None where nothing listens.

    No certificate is checked: nothing secret is sent, and the answer is compared with what the store has.
    """
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    url = f"{'https' if tls else 'http'}://{at}/readyz"
    try:
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(trust_env=False) as client,
            client.get(url, ssl=False, allow_redirects=False) as answer,
        ):
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > _BYTES_MAX:
                    return ""
            document = json.loads(body)
    except aiohttp.ClientConnectorError:
        return None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return ""
    process = document.get("process") if isinstance(document, dict) else None
    return process if isinstance(process, str) else ""
