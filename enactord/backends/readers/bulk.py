"""Reading in bulk: two questions a name, pipelined over a few TCP connections.

aiodns asks with a stack that shares no code with the writer, but needs seconds for a
whole zone. This one asks any authoritative server as fast as it answers. With a key every
question is signed, and an answer that the key did not sign is none.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from enactord.backends.rfc2136.denials import answer_unproved, question_denied, tsig_error
from enactord.core.errors import ZoneDown, ZoneUnproved
from enactord.core.records import NO_RECORDS, Served, served_with
from enactord.ports import Clock
from enactord.wire.answer import (
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
from enactord.wire.connections import QUESTIONS_IN_FLIGHT_MAX, READ_CONNECTIONS_MAX, ServerConnections
from enactord.wire.signed_questions import SignedQuestions
from enactord.wire.stream import MaybeReceived, NeverSent, Stream
from enactord.wire.tsig import TsigError, TsigKey

_CHUNKS_PER_STREAM = 2  # one is answered while the next one's questions are on their way
_LOSSES_MAX = 4  # connections lost in a row, without an answer, before a round of questions is given up
_NOTHING_SERVED = Served(records=NO_RECORDS)


@dataclass(frozen=True, slots=True)
class Signing:
    """How questions are signed: by the key of the moment, at the time of a clock."""

    key: Callable[[], TsigKey]
    clock: Clock


@dataclass(frozen=True, slots=True)
class _Answers:
    """What came back for some questions."""

    questions: Sequence[bytes]
    messages: Sequence[bytes | None]
    """The answer to each, None where there is none, or none that may be believed."""
    complete: bool
    """Whether each question got an answer, believed or not."""
    key: TsigKey | None
    """The key that signed the questions."""

    def parse(self, index: int, problems: list[str]) -> Answer | None:
        """Return the answer to a question, or None where it cannot be used; why is added to the problems."""
        message = self.messages[index]
        if message is None:
            return None
        try:
            return parse_answer(message, self.questions[index])
        except BrokenAnswer as error:
            problems.append(str(error))
            return None

    def useless(self, index: int, answer: Answer, problems: list[str]) -> bool:
        """Whether an answer says nothing with authority; why is added to the problems."""
        if answer.rcode not in (RCODE_NOERROR, RCODE_NXDOMAIN):
            message = self.messages[index]
            assert message is not None
            problems.append(question_denied(answer.rcode, self.key, tsig_error(message)))
        elif not answer.authoritative:
            problems.append("the server is not authoritative for the name")
        elif answer.truncated:
            problems.append("an answer truncated on TCP")
        else:
            return False
        return True


class BulkReader:
    """Asks one authoritative server by pipelined TCP; implements `ServedReader`.

    `zone`: the one whose names are asked for; "" where that is not known: then no answer is seen
    to come from below a cut of it. `timeout_s` bounds the wait for one round of questions; a pass over many names ends
    early when rounds time out. At most `connections` times `in_flight_max` questions wait at
    the server. With `shared`, its connections to that server are used, in turn with their
    other `owner`s, and are left open at the end. With `signing`, questions are signed, and an answer
    counts only if it is signed by the key, over its question; without, neither is looked at.
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
        signing: Signing | None = None,
    ) -> None:
        assert connections > 0
        assert in_flight_max >= 2 * _CHUNKS_PER_STREAM
        self._peer = f"{host}:{port}"
        self._zone = zone
        self._signing = signing
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
        complete: list[bool] = []
        chunks = iter([names[start : start + self._chunk] for start in range(0, len(names), self._chunk)])
        workers = min(-(-len(names) // self._chunk), self._stream.connections_max * _CHUNKS_PER_STREAM)
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._read_chunks(chunks, found, problems, complete))
        if not found:
            error = ZoneUnproved if any(complete) else ZoneDown
            raise error(f"{self._peer}: {problems[-1] if problems else 'no answer'}")
        return found

    async def ask(self, name: str, rtype: int) -> Answer:
        """Return the answer to one question.

        Raises `ZoneDown` unless an authoritative one comes: `ZoneUnproved` where another does.
        """
        problems: list[str] = []
        answers = await self._ask_all([pack_question(name, rtype)], problems)
        answer = answers.parse(0, problems)
        if answer is None or answers.useless(0, answer, problems):
            error = ZoneUnproved if answers.complete else ZoneDown
            raise error(f"{self._peer}: {name}: {problems[-1]}")
        return answer

    async def close(self) -> None:
        if not self._shared:
            await self._stream.close()

    async def _read_chunks(
        self, chunks: Iterator[Sequence[str]], found: dict[str, Served], problems: list[str], complete: list[bool]
    ) -> None:
        """Take chunks until none is left, or one stays without an answer: then the server is asked no more."""
        for chunk in chunks:
            questions = [pack_question(name, rtype) for name in chunk for rtype in (TYPE_A, TYPE_AAAA)]
            answers = await self._ask_all(questions, problems)
            for index, name in enumerate(chunk):
                served = self._served(answers, 2 * index, problems)
                if served is not None:
                    found[name] = served
            complete.append(answers.complete)
            if not answers.complete:
                return

    async def _ask_all(self, questions: list[bytes], problems: list[str]) -> _Answers:
        """Ask, again after a connection was lost, until all is answered or the time is over.

        A server may close a connection at any time, after any number of answers; it is
        asked again as long as that gets something, and a few times more when it gets
        nothing (the connection was closed for idleness as the questions went out, or
        others' questions on it were answered first).
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        key = None if self._signing is None else self._signing.key()
        messages: list[bytes | None] = [None] * len(questions)
        waiting = list(range(len(questions)))
        losses = 0
        while waiting:
            try:
                got, believed = await self._ask_once(
                    [questions[index] for index in waiting], key, deadline - loop.time(), problems
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
            for index, message in zip(waiting, believed, strict=True):
                messages[index] = message
            waiting = [index for index, message in zip(waiting, got, strict=True) if message is None]
        return _Answers(questions, messages, not waiting, key)

    async def _ask_once(
        self, questions: list[bytes], key: TsigKey | None, timeout_s: float, problems: list[str]
    ) -> tuple[Sequence[bytes | None], Sequence[bytes | None]]:
        """Return what the server answered to each question, and the same without what is not believed."""
        if self._signing is None or key is None:
            got = await self._stream.ask_all([pack_query(one) for one in questions], timeout_s, owner=self._owner)
            return got, got
        signed, clock = SignedQuestions(key, questions), self._signing.clock
        got = await self._stream.ask_made(
            len(questions),
            lambda message_ids: signed.messages(message_ids, now_s=int(clock.now())),
            timeout_s,
            owner=self._owner,
        )
        believed: list[bytes | None] = list(got)
        now_s = int(clock.now())
        for index, message in enumerate(got):
            if message is not None:
                try:
                    signed.check(index, message, now_s=now_s)
                except TsigError as error:
                    problems.append(answer_unproved(message, key, error))
                    believed[index] = None
        return got, believed

    def _served(self, replies: _Answers, first: int, problems: list[str]) -> Served | None:
        """Join the answers for A and AAAA of one name, or None where either is of no use."""
        answers: list[Answer] = []
        for index in (first, first + 1):
            answer = replies.parse(index, problems)
            if answer is None:
                return None
            cut = self._cut(answer)
            if cut:
                return Served(records=NO_RECORDS, covered=cut)
            if replies.useless(index, answer, problems):
                return None
            answers.append(answer)
        a, aaaa = answers
        if a.alias is not None or aaaa.alias is not None:
            return Served(records=NO_RECORDS, alias=a.alias or aaaa.alias)
        if not a.rdatas and not aaaa.rdatas:
            return _NOTHING_SERVED
        return served_with((*a.ttls, *aaaa.ttls), a.rdatas, aaaa.rdatas)

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
