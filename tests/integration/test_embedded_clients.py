"""The embedded server as programs of others see it, and over SIGKILL."""

import asyncio
import base64
import random
import shutil
import subprocess
from collections.abc import Iterator

import dns.asyncquery
import dns.message
import dns.rcode
import dns.tsig
import dns.update
import pytest

from tests.embedded_lab import LIMIT_S
from tests.servers.dns_server import SECRET
from tests.servers.embedded import Embedded

ZONE = "example.test."
SIGNER = dns.tsig.Key("enactor.", base64.b64decode(SECRET), "hmac-sha256")


@pytest.fixture
def server() -> Iterator[Embedded]:
    with Embedded([ZONE]) as running:
        yield running


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: run `make setup`")
    return path


def dig(server: Embedded, *words: str) -> str:
    """What dig prints; fails when it warns of anything but recursion."""
    command = [program("dig"), f"@{server.host}", "-p", str(server.port), "+tries=1", "+time=3", "+norecurse", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert not any(word in done.stdout for word in ("WARNING", "FORMERR", "malformed")), done.stdout
    return done.stdout


def nsupdate(
    server: Embedded, *lines: str, key: str | None = f"hmac-sha256:enactor:{SECRET}", tcp: bool = False
) -> str:
    """Send one update; return what nsupdate has to complain of, empty when it was accepted."""
    command = [program("nsupdate"), *(["-v"] if tcp else []), *(["-y", key] if key else [])]
    script = "\n".join((f"server {server.host} {server.port}", f"zone {ZONE}", *lines, "send", ""))
    return subprocess.run(command, input=script, capture_output=True, text=True, timeout=20, check=False).stderr


@pytest.mark.parametrize("tcp", [False, True])
def test_nsupdate_and_dig(server: Embedded, tcp: bool) -> None:
    """BIND's own clients update it and read it, with cookies, EDNS and signatures."""
    transport = "+tcp" if tcp else "+notcp"
    assert (
        nsupdate(
            server,
            "update add www.example.test. 5 A 192.0.2.1",
            "update add w.example.test. 5 CNAME www.example.test.",
            tcp=tcp,
        )
        == ""
    )
    assert "NXRRSET" in nsupdate(
        server, "prereq yxrrset www.example.test. A 192.0.2.9", "update delete www.example.test.", tcp=tcp
    )
    assert dig(server, transport, "+short", "w.example.test.", "A") == "www.example.test.\n192.0.2.1\n"
    full = dig(server, transport, "wWw.example.TEST.", "A")
    assert "status: NOERROR" in full
    assert "flags: qr aa;" in full
    assert "wWw.example.TEST." in full
    assert "status: NXDOMAIN" in dig(server, transport, "nope.example.test.")
    assert "status: NOERROR" in dig(server, transport, "www.example.test.", "AAAA")
    assert "status: REFUSED" in dig(server, transport, "example.org.")
    assert "status: BADVERS" in dig(server, transport, "+edns=5", "+noednsneg", "example.test.", "SOA")
    signed = dig(server, transport, "-y", f"hmac-sha256:enactor:{SECRET}", "www.example.test.")
    assert "TSIG" in signed
    assert "could not be validated" not in signed
    gone = ("prereq yxrrset www.example.test. A 192.0.2.1", "update delete www.example.test.")
    assert nsupdate(server, *gone, tcp=tcp) == ""
    assert "status: NXDOMAIN" in dig(server, transport, "www.example.test.", "A")


def test_nsupdate_is_told_why_not(server: Embedded) -> None:
    """Unsigned: REFUSED; a wrong secret: BADSIG; an unknown key: BADKEY."""
    line = "update add www.example.test. 5 A 192.0.2.1"
    assert "REFUSED" in nsupdate(server, line, key=None)
    assert "BADSIG" in nsupdate(server, line, key="hmac-sha256:enactor:AAAA")
    assert "BADKEY" in nsupdate(server, line, key=f"hmac-sha256:nobody:{SECRET}")
    assert "status: NXDOMAIN" in dig(server, "www.example.test.")


def test_dig_takes_a_signed_transfer_of_many_messages(server: Embedded) -> None:
    """dig checks the signature of every message of an AXFR, and of an IXFR answered in full."""
    for start in range(0, 3000, 300):
        lines = [f"update add n{number}.example.test. 5 A 192.0.2.1" for number in range(start, start + 300)]
        assert nsupdate(server, *lines, tcp=True) == ""
    for kind in ("AXFR", "IXFR=1"):
        output = dig(server, "+tcp", "-y", f"hmac-sha256:enactor:{SECRET}", "example.test.", kind)
        assert "XFR size: 3003 records (messages" in output, output[-300:]
        assert output.count("\tA\t192.0.2.1") == 3000
    assert "Transfer failed" in dig(server, "+tcp", "example.test.", "AXFR")


async def test_every_acknowledged_update_survives_sigkill() -> None:
    """Killed in the middle of updates, again and again: what was acknowledged is there, each update whole."""
    chooser = random.Random(136)
    acknowledged: set[int] = set()
    sent = 0

    async def write(server: Embedded, stop: asyncio.Event) -> None:
        nonlocal sent
        reader, writer = await asyncio.open_connection(server.host, server.port)
        try:
            while not stop.is_set():
                numbers = range(sent, sent + 8)
                sent += 8
                for number in numbers:
                    message = dns.update.UpdateMessage(ZONE)
                    message.use_tsig(SIGNER)
                    message.absent(f"n{number}")
                    message.add(f"n{number}", 5, "A", "192.0.2.1")
                    message.add(f"t{number}", 5, "TXT", str(number))
                    message.id = number & 0xFFFF
                    wire = message.to_wire()
                    writer.write(len(wire).to_bytes(2, "big") + wire)
                for _ in numbers:
                    reply = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                    assert reply[3] & 15 == dns.rcode.NOERROR
                    acknowledged.add(next(n for n in numbers if n & 0xFFFF == int.from_bytes(reply[:2], "big")))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # killed: what was not answered may be there or not
        finally:
            writer.close()

    async def found(server: Embedded, name: str, rtype: str) -> bool:
        query = dns.message.make_query(f"{name}.{ZONE}", rtype)
        return bool((await dns.asyncquery.udp(query, server.host, LIMIT_S, server.port)).answer)

    with Embedded([ZONE]) as server:
        for _ in range(6):
            before = len(acknowledged)
            stop = asyncio.Event()
            writers = [asyncio.create_task(write(server, stop)) for _ in range(4)]
            async with asyncio.timeout(LIMIT_S * 4):
                enough = before + chooser.randrange(20, 150)
                while len(acknowledged) < enough and not all(writer.done() for writer in writers):
                    await asyncio.sleep(0.001)
                server.kill()
                stop.set()
                await asyncio.gather(*writers)
            await asyncio.to_thread(server.start)
            missing = [number for number in sorted(acknowledged) if not await found(server, f"n{number}", "A")]
            assert not missing
            for number in range(max(0, sent - 200), sent):
                assert await found(server, f"n{number}", "A") == await found(server, f"t{number}", "TXT")
    assert len(acknowledged) > 120
    assert sent > len(acknowledged)
