"""A server's own word of its version: whatever comes, nothing is raised."""

import pytest

from enactord.core.names import wire_name
from enactord.wire.stream import Stream
from enactord.wire.version_question import ask_version
from tests.servers.tcp_peer import Peer, serving

_QUESTION = wire_name("version.bind.") + b"\0\x10\0\3"
_HEADER = b"\x84\0\0\1\0\1\0\0\0\0"
_OWNER = b"\xc0\x0c\0\x10\0\3\0\0\0\0"


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (_HEADER + _QUESTION + _OWNER + b"\0\4\3new", "new"),
        (_HEADER + _QUESTION + _OWNER + b"\0\0", ""),
        (_HEADER + _QUESTION + _OWNER + b"\0\1\7", ""),
        (_HEADER + _QUESTION + _OWNER + b"\0\4", ""),
        (_HEADER + _QUESTION, ""),
        (_HEADER[:5], ""),
        (_HEADER[:1], ""),
        (b"", ""),
    ],
)
async def test_an_answer_of_any_length_is_no_error(answer: bytes, word: str) -> None:
    """Cut short anywhere, it tells nothing."""

    async def script(peer: Peer) -> None:
        request = await peer.receive()
        peer.reply(request[:2] + answer)
        await peer.receive()

    async with serving(script) as port:
        stream = Stream("127.0.0.1", port, in_flight_max=1)
        assert await ask_version(stream, 1.0) == word
        await stream.close()
