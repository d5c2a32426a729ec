"""Reading in bulk: two questions a name, pipelined over a few TCP connections.

aiodns asks with a stack that shares no code with the writer, but needs seconds for a
whole zone. This one asks any authoritative server as fast as it answers, without TSIG.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from enactord.adapters.server_connections import QUESTIONS_IN_FLIGHT_MAX, READ_CONNECTIONS_MAX, ServerConnections
from enactord.adapters.wire.answer import (
    RCODE_NOERROR,
    RCODE_NXDOMAIN,
    TYPE_A,
    TYPE_AAAA,
    TYPE_NS,
    TYPE_SOA,
    Answer,
    BrokenAnswer,
    pack_query,
    pack_question,
    parse_answer,
)
from enactord.adapters.wire.stream import MaybeReceived, NeverSent, Stream
from enactord.core.errors import ZoneDown
from enactord.core.records import NO_RECORDS, Records, Served

_CHUNKS_PER_STREAM = 2  # one is answered while the next one's questions are on their way
_LOSSES_MAX = 4  # connections lost in a row, without an answer, before a round of questions is given up
_NOTHING_SERVED = Served(records=NO_RECORDS)


class BulkReader:
    """Asks one authoritative server by pipelined TCP; implements `ServedReader`.

    `zone`: the one whose names are asked for; "" where that is not known: then no answer is seen
    to come from below a cut of it. `timeout_s` bounds the wait for one round of questions; a pass over many names ends
    early when rounds time out. At most `connections` times `in_flight_max` questions wait at
    the server. With `shared`, its connections to that server are used, in turn with their
    other `owner`s, and are left open at the end.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout_s: float,
        connections: int = READ_CONNECTIONS_MAX,
        in_flight_max: int = QUESTIONS_IN_FLIGHT_MAX,
        shared: ServerConnections | None = None,
        owner: str = "",
        zone: str = "",
    ) -> None:
        assert connections > 0
        assert in_flight_max >= 2 * _CHUNKS_PER_STREAM
        self._peer = f"{host}:{port}"
        self._zone = zone
        self._timeout_s = timeout_s
        self._chunk = in_flight_max // (2 * _CHUNKS_PER_STREAM)
        self._owner = owner
        self._shared = shared is not None
        if shared is not None:
            self._stream = shared.reads
        else:
            self._stream = Stream(
                host, port, in_flight_max=in_flight_max, connections_max=connections, spread_at=in_flight_max // 2
            )

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        if not names:
            return {}
        found: dict[str, Served] = {}
        problems: list[str] = []
        chunks = iter([names[start : start + self._chunk] for start in range(0, len(names), self._chunk)])
        workers = min(-(-len(names) // self._chunk), self._stream.connections_max * _CHUNKS_PER_STREAM)
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._read_chunks(chunks, found, problems))
        if not found:
            raise ZoneDown(f"{self._peer}: {problems[-1] if problems else 'no answer'}")
        return found

    async def ask(self, name: str, rtype: int) -> Answer:
        """Return the answer to one question. Raises `ZoneDown` unless an authoritative one comes."""
        question = pack_question(name, rtype)
        problems: list[str] = []
        reply = (await self._ask_all([question], problems))[0]
        answer = None if reply is None else _usable(reply, question, problems)
        if answer is None:
            raise ZoneDown(f"{self._peer}: {name}: {problems[-1]}")
        return answer

    async def close(self) -> None:
        if not self._shared:
            await self._stream.close()

    async def _read_chunks(
        self, chunks: Iterator[Sequence[str]], found: dict[str, Served], problems: list[str]
    ) -> None:
        """Take chunks until none is left, or one stays without an answer: then the server is asked no more."""
        for chunk in chunks:
            questions = [pack_question(name, rtype) for name in chunk for rtype in (TYPE_A, TYPE_AAAA)]
            replies = await self._ask_all(questions, problems)
            for index, name in enumerate(chunk):
                served = self._served(replies, questions, 2 * index, problems)
                if served is not None:
                    found[name] = served
            if None in replies:
                return

    async def _ask_all(self, questions: list[bytes], problems: list[str]) -> list[bytes | None]:
        """Ask, again after a connection was lost, until all is answered or the time is over.

        A server may close a connection at any time, after any number of answers; it is
        asked again as long as that gets something, and a few times more when it gets
        nothing (the connection was closed for idleness as the questions went out, or
        others' questions on it were answered first).
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        bodies = [pack_query(question) for question in questions]
        replies: list[bytes | None] = [None] * len(bodies)
        waiting = list(range(len(bodies)))
        losses = 0
        while waiting:
            try:
                got = await self._stream.ask_all(
                    [bodies[index] for index in waiting], deadline - loop.time(), owner=self._owner
                )
            except NeverSent as error:
                problems.append(str(error))
                break
            except MaybeReceived as error:
                problems.append(str(error))
                losses += 1
                if losses > _LOSSES_MAX or not error.lost:
                    break
                continue
            losses = 0
            for index, reply in zip(waiting, got, strict=True):
                replies[index] = reply
            waiting = [index for index in waiting if replies[index] is None]
        return replies

    def _served(
        self, replies: Sequence[bytes | None], questions: Sequence[bytes], index: int, problems: list[str]
    ) -> Served | None:
        """Join the answers for A and AAAA of one name, or None where either is of no use."""
        answers: list[Answer] = []
        for reply, question in zip(replies[index : index + 2], questions[index : index + 2], strict=True):
            answer = None if reply is None else _parsed(reply, question, problems)
            if answer is None:
                return None
            cut = self._cut(answer)
            if cut:
                return Served(records=NO_RECORDS, covered=cut)
            if _useless(answer, problems):
                return None
            answers.append(answer)
        a, aaaa = answers
        if a.alias is not None or aaaa.alias is not None:
            return Served(records=NO_RECORDS, alias=a.alias or aaaa.alias)
        if not a.rdatas and not aaaa.rdatas:
            return _NOTHING_SERVED
        ttl_s = min(answer.ttl_s for answer in (a, aaaa) if answer.rdatas)
        return Served(records=Records(ttl_s=ttl_s, a=a.rdatas, aaaa=aaaa.rdatas))

    def _cut(self, answer: Answer) -> str:
        """Return what the answer shows to stand between zone and name, in the words of `Served.covered`.

        A delegation is answered by a referral: without authority, with the NS of the cut (RFC 1034
        section 4.3.2). A child zone of the same server answers with authority, and with an SOA of its own.
        """
        if not self._zone or answer.rcode not in (RCODE_NOERROR, RCODE_NXDOMAIN):
            return ""
        if answer.dname and self._below(answer.dname):
            return f"DNAME {answer.dname}"
        kind, owner = answer.cut or (0, "")
        if not self._below(owner):
            return ""
        if kind == TYPE_NS and not answer.authoritative:
            return f"NS {owner}"
        return f"zone {owner}" if kind == TYPE_SOA and answer.authoritative else ""

    def _below(self, owner: str) -> bool:
        return owner.endswith("." + self._zone)


def _usable(reply: bytes, question: bytes, problems: list[str]) -> Answer | None:
    """Return the answer if it says with authority what stands at the name, be it nothing."""
    answer = _parsed(reply, question, problems)
    return None if answer is None or _useless(answer, problems) else answer


def _parsed(reply: bytes, question: bytes, problems: list[str]) -> Answer | None:
    try:
        return parse_answer(reply, question)
    except BrokenAnswer as error:
        problems.append(str(error))
        return None


def _useless(answer: Answer, problems: list[str]) -> bool:
    """Whether an answer says nothing with authority; why is added to the problems."""
    if answer.rcode not in (RCODE_NOERROR, RCODE_NXDOMAIN):
        problems.append(f"answered with rcode {answer.rcode}")
    elif not answer.authoritative:
        problems.append("the server is not authoritative for the name")
    elif answer.truncated:
        problems.append("an answer truncated on TCP")
    else:
        return False
    return True
