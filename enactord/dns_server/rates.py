"""Response rate limiting over UDP: whoever asks in the name of a victim must not have it flooded with answers.

A datagram's source can be forged; a TCP connection's cannot. So answers over UDP are counted by the network of
their source, and those beyond the rate are left out, but for each second one, which says only "truncated": the
rightful client in that network asks again over TCP, which is never limited.

Answers to questions that a key of the server signed are neither counted nor left out: whoever forges a source has no
key, and the client of a signed question drops an unsigned "truncated". Whoever has listened can send such a question
again, but only for the five minutes of its signature.

Source: P. Vixie, V. Schryver, "DNS Response Rate Limiting (DNS RRL)", ISC-TN-2012-1.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from socket import AF_INET6, inet_pton

from enactord.wire.names import HEADER_BYTES

RESPONSES_PER_S = 200.0
"""For each network. A resolver that caches asks a small zone far less; who asks more goes over to TCP."""
SLIP = 2
"""Of so many answers beyond the rate, one is sent, truncated. Source: ISC-TN-2012-1 section 2.2.7; BIND's default."""
NETWORKS_MAX = 16_384
"""Networks that are remembered, some 3 MB; beyond, the one longest silent is forgotten."""
_V6_BYTES = 7
"""Networks are /24 and /56. Source: BIND's defaults of ipv4-prefix-length and ipv6-prefix-length."""
_MAPPED = "::ffff:"
_TC = 0x02
_LOOPBACK = ("127", "::1")


class Verdict(Enum):
    """What becomes of an answer."""

    SEND = auto()
    TRUNCATE = auto()
    DROP = auto()


@dataclass(slots=True)
class _Network:
    left: float
    at: float
    beyond: int = 0
    """Answers beyond the rate so far. Never set back: just above the rate, each of them stands between two sent."""


class ResponseRates:
    """A token bucket for each network; one second's answers may come at once."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        per_s: float = RESPONSES_PER_S,
        slip: int = SLIP,
        networks_max: int = NETWORKS_MAX,
        loopback: bool = False,
    ) -> None:
        """`per_s`: answers a second, infinity for no limit. `slip`: 0 sends nothing beyond it.

        `loopback`: whether to limit loopback, too, whose addresses nobody elsewhere can forge.
        """
        assert per_s >= 1
        self._now = monotonic
        self._per_s = per_s
        self._slip = slip
        self._networks_max = networks_max
        self._loopback = loopback
        self._networks: OrderedDict[str | bytes, _Network] = OrderedDict()
        self.dropped = 0
        self.truncated = 0

    def judge(self, source: str) -> Verdict:
        """Say what becomes of an answer to an address, as the socket tells it; the answer counts."""
        network = network_of(source)
        if (network in _LOOPBACK and not self._loopback) or self._per_s == math.inf:
            return Verdict.SEND
        now = self._now()
        found = self._networks.pop(network, None) or _Network(self._per_s, now)
        self._networks[network] = found
        if len(self._networks) > self._networks_max:
            self._networks.popitem(last=False)
        found.left = min(self._per_s, found.left + (now - found.at) * self._per_s)
        found.at = now
        if found.left >= 1:
            found.left -= 1
            return Verdict.SEND
        found.beyond += 1
        if self._slip and found.beyond % self._slip == 0:
            self.truncated += 1
            return Verdict.TRUNCATE
        self.dropped += 1
        return Verdict.DROP


def network_of(source: str) -> str | bytes:
    """Return what tells the network of an address apart from others; of loopback, one of `_LOOPBACK`."""
    if ":" not in source:
        return "127" if source.startswith("127.") else source.rpartition(".")[0]
    address = source.partition("%")[0]
    if address.startswith(_MAPPED) and "." in address:  # IPv4 on a socket of both families
        return network_of(address.removeprefix(_MAPPED))
    return "::1" if address == "::1" else inet_pton(AF_INET6, address)[:_V6_BYTES]


def truncated(answer: bytes) -> bytes:
    """Return an answer of the question alone that says "truncated": no larger than the question was.

    `answer` is one of ours: at most one question, its name not compressed.
    """
    end = HEADER_BYTES
    questions = answer[4:6]
    if questions != b"\0\0":
        while answer[end]:  # label by label: a label may hold a zero byte
            end += 1 + answer[end]
        end += 5
    return answer[:2] + bytes((answer[2] | _TC,)) + answer[3:6] + b"\0\0\0\0\0\0" + answer[HEADER_BYTES:end]
