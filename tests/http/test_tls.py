"""The API over TLS."""

import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.http.site import serving
from tests.world import World


def certificate(at: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, and its key."""
    cert, key = at / "cert.pem", at / "key.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=enactor", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", *kind, *names, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


async def test_api_is_served_over_tls_alone(tmp_path: Path) -> None:
    """With a certificate, who trusts it is answered over TLS; nobody is in the clear."""
    cert, key = certificate(tmp_path)
    world = World()
    try:
        member = await world.add("a")
        trust = ssl.create_default_context(cafile=cert)
        async with serving(member, trust=trust, tls_cert=cert.read_bytes(), tls_key=key.read_bytes()) as site:
            assert (await site.get("/api/v1/status"))["self"]["id"] == "a"
            async with site.client.get("/api/v1/events") as stream:
                assert (await stream.content.readuntil(b"\n\n")).startswith(b"retry: ")
            async with aiohttp.ClientSession() as plain:
                with pytest.raises(aiohttp.ClientError):
                    await plain.get(f"http://127.0.0.1:{site.port}/healthz")
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await plain.get(f"{site.url}/healthz")
    finally:
        await world.close()
