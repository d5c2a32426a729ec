"""Secrets and certificates renewed on disk are taken up without a signal; what cannot be used changes nothing."""

import asyncio
import json
import os
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.desk import Desk, reload
from tests.deploy.process import Service, service
from tests.servers.certificates import Authority
from tests.servers.dns_server import FOREIGN_SECRET, SECRET
from tests.servers.embedded import Embedded
from tests.tokens import write_tokens
from tests.world import ZONE, fleet, plan

ZONE_KEY = "zone[example.test.].tsig_secret_file"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Embedded([ZONE]) as server:
        yield Desk(tmp_path, server)


def taken(enactor: Service) -> list[list[str]]:
    """Return the keys of each time that files were taken up."""
    return [event["keys"] for event in enactor.events if event["event"] == "files.taken"]


def refused(enactor: Service) -> list[tuple[str, str]]:
    """Return key and detail of each time that a file was refused."""
    return [(event["key"], event["detail"]) for event in enactor.events if event["event"] == "file.refused"]


def reasons(desk: Desk) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{desk.http}/readyz", timeout=10) as answer:
        return json.load(answer)["reasons"]


async def test_a_token_and_a_tsig_key_are_taken_up_as_they_change(desk: Desk) -> None:
    """Written in place or put in place by a rename; the key's file may take another form meanwhile."""
    desk.edit(('"enactor"\ntsig_secret', '"foreign"\ntsig_secret'))
    await desk.publish(plan(fleet(5)))
    async with service(desk.config) as enactor:
        await enactor.until(lambda: "BADSIG" in enactor.standing() or "BADKEY" in enactor.standing())
        desk.tokens("second")
        clause = f'key "foreign" {{ algorithm hmac-sha256; secret "{FOREIGN_SECRET}"; }};'
        desk.secret("fresh", clause)
        (desk.folder / "fresh").rename(desk.folder / "tsig.secret")
        await enactor.until(lambda: enactor.event("plan.applied"))
        await enactor.until(lambda: {key for keys in taken(enactor) for key in keys} == {"http.tokens_file", ZONE_KEY})
        assert (desk.thaw("first"), desk.thaw("second")) == (401, 200)
    assert FOREIGN_SECRET not in enactor.text


async def test_a_folder_exchanged_by_its_link_is_seen(desk: Desk) -> None:
    """So Kubernetes renews a mounted secret: files are links through a link that is exchanged; the old folder goes."""

    def exchange(version: int, token: str) -> None:
        folder = desk.folder / f"..v{version}"
        folder.mkdir()
        (folder / "tsig.secret").write_text(SECRET)
        (folder / "tsig.secret").chmod(0o600)
        write_tokens(folder / "http.tokens", **{token: "operator"})
        (desk.folder / "..fresh").symlink_to(folder.name)
        os.replace(desk.folder / "..fresh", desk.folder / "..data")

    exchange(1, "first")
    for name in ("tsig.secret", "http.tokens"):
        (desk.folder / name).unlink()
        (desk.folder / name).symlink_to(f"..data/{name}")
    async with service(desk.config) as enactor:
        await enactor.until(lambda: enactor.event("store.up"))
        exchange(2, "second")
        for name in ("tsig.secret", "http.tokens"):
            (desk.folder / "..v1" / name).unlink()
        await enactor.until(lambda: taken(enactor) == [["http.tokens_file"]])
        assert (desk.thaw("first"), desk.thaw("second")) == (401, 200)
        assert refused(enactor) == []


async def test_a_file_that_cannot_be_used_is_told_once_and_stops_no_other(desk: Desk) -> None:
    """The old secret goes on being used, the reason stands in /readyz, and ends with the mended file."""
    async with service(desk.config) as enactor:
        await enactor.until(lambda: enactor.event("store.up"))
        desk.secret("tsig.secret", 'key "enactor" { algorithm hmac-sha256; secr')
        await enactor.until(lambda: refused(enactor))
        assert [key for key, _ in refused(enactor)] == [ZONE_KEY]
        assert any(ZONE_KEY in reason and "not whole" in reason for reason in await asyncio.to_thread(reasons, desk))
        desk.tokens("second")
        await enactor.until(lambda: taken(enactor) == [["http.tokens_file"]])
        await desk.publish(plan(fleet(3)))
        await enactor.until(lambda: enactor.event("plan.applied"))
        (desk.folder / "tsig.secret").unlink()
        await enactor.until(lambda: len(refused(enactor)) == 2)
        assert "No such file" in refused(enactor)[1][1]
        desk.secret("tsig.secret", SECRET)
        await enactor.until(lambda: ZONE_KEY not in enactor.standing())
        assert await asyncio.to_thread(reasons, desk) == []
        assert (len(refused(enactor)), taken(enactor)) == (2, [["http.tokens_file"]])


async def test_a_reload_takes_what_is_good_beside_a_file_that_is_not(desk: Desk) -> None:
    """Of a config whose text is the same, SIGHUP takes up each file by itself, and says what it could not."""
    async with service(desk.config) as enactor:
        await enactor.until(lambda: enactor.event("store.up"))
        desk.secret("tsig.secret", "no base64!")
        desk.tokens("second")
        await reload(enactor)
        assert any("no base64" in str(e["problems"]) for e in enactor.events if e["event"] == "config.refused")
        await enactor.until(lambda: taken(enactor) == [["http.tokens_file"]])
        assert desk.thaw("second") == 200
        await enactor.until(lambda: ZONE_KEY in enactor.standing())
        assert "config not taken up" not in enactor.standing()


async def test_a_certificate_of_http_is_exchanged_with_its_key_alone(desk: Desk, tmp_path: Path) -> None:
    """New connections get the new pair; a new certificate beside the old key is told, and the old pair goes on."""
    authority = Authority(tmp_path / "authority")
    authority.issue("http")
    desk.edit(("[log]", 'tls_cert_file = "authority/http.pem"\ntls_key_file = "authority/http.key"\n[log]'))
    pair = "http.tls_cert_file, http.tls_key_file"

    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", desk.http), timeout=10)

    def on_disk() -> str:
        return (authority.at / "http.pem").read_text()

    async with service(desk.config) as enactor:
        await enactor.until(lambda: enactor.event("started"))
        first = on_disk()
        assert await asyncio.to_thread(shown) == first
        cert, key = authority.issue("http-2")
        key_now = key.read_bytes()
        cert.rename(authority.at / "http.pem")
        await enactor.until(lambda: refused(enactor))
        ((named, detail),) = refused(enactor)
        assert (named, "do not belong together" in detail) == (pair, True)
        assert await asyncio.to_thread(shown) == first
        (authority.at / "http.key").write_bytes(key_now)
        await enactor.until(lambda: taken(enactor) == [["http.tls_cert_file", "http.tls_key_file"]])
        assert first != on_disk() == await asyncio.to_thread(shown)
        await enactor.until(lambda: pair not in enactor.standing())
