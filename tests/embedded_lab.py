"""The embedded server in this process, asked by dnspython: its oracle."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update

from enactord.dns_server import EmbeddedServer, Key

ZONE = "example.test."
SECRET = b"0123456789abcdef0123456789abcdef"
KEY = Key(name="enactor", algorithm="hmac-sha256", secret=SECRET)
KEY_512 = Key(name="other.key", algorithm="hmac-sha512", secret=SECRET * 2)
SIGNER = dns.tsig.Key("enactor.", SECRET, "hmac-sha256")
SIGNER_512 = dns.tsig.Key("other.key.", SECRET * 2, "hmac-sha512")
LIMIT_S = 5.0


@contextlib.asynccontextmanager
async def serving(
    state_dir: Path | None = None, *, problems: int = 0, **options: object
) -> AsyncIterator[EmbeddedServer]:
    """A server on a free port; fails when it reports more or fewer problems than expected."""
    heard: list[str] = []
    zones = options.pop("zones", [ZONE])
    server = EmbeddedServer(
        zones=zones,  # type: ignore[arg-type]
        keys=[KEY, KEY_512],
        state_dir=state_dir,
        on_problem=heard.append,
        **options,  # type: ignore[arg-type]
    )
    async with server:
        await server.start("127.0.0.1", 0)
        yield server
    assert len(heard) == problems, heard


async def ask(server: EmbeddedServer, query: dns.message.Message, *, tcp: bool = False) -> dns.message.Message:
    """Send a message that dnspython made and return the answer that dnspython accepted."""
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await send(query, server.host, timeout=LIMIT_S, port=server.port)


async def look_up(server: EmbeddedServer, name: str, rtype: str = "A", *, tcp: bool = False) -> dns.message.Message:
    return await ask(server, dns.message.make_query(name, rtype, use_edns=False), tcp=tcp)


def texts(answer: dns.message.Message) -> list[str]:
    """The records of the answer section, sorted."""
    return sorted(line for rrset in answer.answer for line in rrset.to_text().splitlines())


def update(zone: str = ZONE, signer: dns.tsig.Key | None = SIGNER) -> dns.update.UpdateMessage:
    message = dns.update.UpdateMessage(zone)
    if signer is not None:
        message.use_tsig(signer)
    return message


async def apply(server: EmbeddedServer, message: dns.update.UpdateMessage) -> str:
    """Send an update and return the name of its rcode."""
    return dns.rcode.to_text((await ask(server, message, tcp=True)).rcode())


async def put(server: EmbeddedServer, *records: str) -> None:
    """Add records, each "name ttl type rdata", in one update."""
    message = update()
    for record in records:
        name, ttl, rtype, rdata = record.split(" ", 3)
        message.add(name, int(ttl), rtype, rdata)
    assert await apply(server, message) == "NOERROR"


async def serial(server: EmbeddedServer) -> int:
    answer = await look_up(server, ZONE, "SOA")
    return int(answer.answer[0][0].serial)


class Wire:
    """A raw TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, server: EmbeddedServer, **options: int) -> "Wire":
        return cls(*await asyncio.open_connection(server.host, server.port, **options))

    def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(len(message).to_bytes(2, "big") + message for message in messages))

    async def receive(self) -> bytes:
        async with asyncio.timeout(LIMIT_S):
            length = int.from_bytes(await self.reader.readexactly(2), "big")
            return await self.reader.readexactly(length)

    async def ended(self) -> bool:
        """Whether the server closes the connection, within the limit, having said nothing more."""
        async with asyncio.timeout(LIMIT_S):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
