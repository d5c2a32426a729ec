"""The API over TLS."""

import ssl
from pathlib import Path

import aiohttp
import pytest

from tests.http.laptop import Laptop
from tests.http.site import serving
from tests.servers.certificates import Authority
from tests.world import World


async def test_api_is_served_over_tls_alone(tmp_path: Path) -> None:
    """With a certificate, who trusts it is answered over TLS; nobody is in the clear."""
    authority = Authority(tmp_path / "authority")
    cert, key = authority.issue("enactor")
    world = World()
    try:
        member = await world.add("a")
        trust = ssl.create_default_context(cafile=authority.ca)
        async with serving(member, trust=trust, tls_cert=cert.read_bytes(), tls_key=key.read_bytes()) as site:
            assert (await site.get("/api/v1/status"))["self"]["id"] == "a"
            async with site.client.get("/api/v1/events") as stream:
                assert (await stream.content.readuntil(b"\n\n")).startswith(b"retry: ")
            async with aiohttp.ClientSession() as plain:
                with pytest.raises(aiohttp.ClientError):
                    await plain.get(f"http://127.0.0.1:{site.port}/healthz")
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await plain.get(f"{site.url}/healthz")
            laptop = Laptop(site.url, tmp_path)
            assert (await laptop.ok("--ca-file", str(authority.ca), "freeze", "--reason", "x"))["frozen"][
                "mode"
            ] == "all"
            assert "--ca-file FILE" in (await laptop.no(3, "thaw"))["message"]
    finally:
        await world.close()
