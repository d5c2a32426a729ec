"""Questions that are signed, and the check of what is answered to each: TSIG for those who ask in bulk.

Nearly every answer that is signed ends in the same bytes but for time, MAC and id. The
servers tested write the names of key and algorithm in full, and in lower case. So the
record is found from the end of the answer. Whatever looks otherwise, and whatever does not
verify, goes to `verify`, which reads the whole message: only it refuses.
"""

from collections.abc import Sequence
from hmac import compare_digest

from enactord.wire.names import HEADER_BYTES
from enactord.wire.tsig import FUDGE_S, TsigKey, prepare, verify

_QUERY = b"\0\0\0\1\0\0\0\0\0\0"
_QUERY_SIGNED = b"\0\0\0\1\0\0\0\0\0\1"
"""What stands between message id and question, without and with the TSIG record; recursion is not desired."""
_NO_ERROR = b"\0\0\0\0"
"""The error, and the length of other data. Source: RFC 8945 section 4.2."""


class SignedQuestions:
    """Questions that go out together, signed by one key.

    Each is signed with the very id of its message as Original ID: an answer to another question,
    or to the same question earlier, is computed over another MAC and does not verify (RFC 8945
    section 5.3).
    """

    def __init__(self, key: TsigKey, questions: Sequence[bytes]) -> None:
        self._key = key
        self._questions = questions
        self._macs: list[bytes] = []
        prepared = self._prepared = prepare(key)
        rdata_bytes = len(prepared.algorithm) + 16 + prepared.mac_bytes
        self._head = prepared.head + rdata_bytes.to_bytes(2, "big") + prepared.algorithm
        """The record up to the time."""
        self._mac_length = prepared.mac_bytes.to_bytes(2, "big")
        self._record_bytes = len(self._head) + 16 + prepared.mac_bytes
        self._timers = b""

    def messages(self, message_ids: Sequence[int], *, now_s: int) -> list[bytes]:
        """Return the signed question for each id. `now_s`: seconds since the epoch."""
        timers = now_s.to_bytes(6, "big") + FUDGE_S.to_bytes(2, "big")
        variables = self._prepared.variables + timers + _NO_ERROR
        before_mac = self._head + timers + self._mac_length
        compute = self._prepared.mac
        messages: list[bytes] = []
        self._macs = []
        for message_id, question in zip(message_ids, self._questions, strict=True):
            id_bytes = message_id.to_bytes(2, "big")
            mac = compute(b"".join((id_bytes, _QUERY, question, variables)))
            self._macs.append(mac)
            messages.append(b"".join((id_bytes, _QUERY_SIGNED, question, before_mac, mac, id_bytes, _NO_ERROR)))
        return messages

    def check(self, index: int, answer: bytes, *, now_s: int) -> None:
        """Raise `TsigError` unless the answer to that question is signed by the key, and over the question."""
        if not self._plainly_signed(index, answer, now_s):
            verify(answer, [self._key], now_s=now_s, request_mac=self._macs[index])

    def _plainly_signed(self, index: int, answer: bytes, now_s: int) -> bool:
        """Whether an answer ends in the usual record, as its only additional one, and verifies.

        Where the record starts is no question of trust: the MAC covers all before it, and is one
        for a message that the key's holder cut at this very place.
        """
        start = len(answer) - self._record_bytes
        if start < HEADER_BYTES or not answer.startswith(self._head, start) or answer[10:12] != b"\0\1":
            return False
        timers_start = start + len(self._head)
        timers = answer[timers_start : timers_start + 8]
        if answer[timers_start + 8 : timers_start + 10] != self._mac_length or not answer.endswith(_NO_ERROR):
            return False
        expected = self._prepared.mac(
            b"".join(
                (
                    self._mac_length,
                    self._macs[index],
                    answer[-6:-4],
                    answer[2:10],
                    b"\0\0",
                    answer[12:start],
                    self._prepared.variables,
                    timers,
                    _NO_ERROR,
                )
            )
        )
        if not compare_digest(expected, answer[timers_start + 10 : -6]):
            return False
        if timers != self._timers:  # not the second of the last one
            if abs(now_s - int.from_bytes(timers[:6], "big")) > int.from_bytes(timers[6:], "big"):
                return False
            self._timers = timers
        return True
