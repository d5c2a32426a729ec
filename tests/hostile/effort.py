"""How hard these tests try, and how they damage what is well-formed."""

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

_FACTORS = {"default": 1, "long": 20}

FACTOR = _FACTORS[os.environ.get("HYPOTHESIS_PROFILE", "default")]
"""`HYPOTHESIS_PROFILE=long pytest tests/hostile --timeout 0` tries twenty times as much."""


def tries(count: int, *, costly: bool = False) -> settings:
    """Settings of a test that tries so many examples in the everyday suite; a costly failure is told as found."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    phases = [Phase.explicit, Phase.reuse, Phase.generate] if costly else list(Phase)
    return settings(max_examples=count * FACTOR, deadline=None, suppress_health_check=slow, phases=phases)


@st.composite
def damaged(draw: st.DrawFn, samples: Sequence[bytes], *, tokens: Sequence[bytes] = (), edits_max: int = 6) -> bytes:
    """A sample with some of its bytes replaced, removed, doubled, or overwritten by tokens of its language."""
    piece = st.binary(max_size=6)
    if tokens:
        piece |= st.sampled_from(tokens)
    found = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, edits_max))):
        start = draw(st.integers(0, len(found)))
        length = draw(st.integers(0, 8))
        match draw(st.sampled_from(("replace", "double", "cut", "flip"))):
            case "replace":
                found[start : start + length] = draw(piece)
            case "double":
                found[start:start] = found[start : start + 8 * length]
            case "flip" if start < len(found):
                found[start] ^= 1 << draw(st.integers(0, 7))
            case _:
                del found[start : start + draw(st.sampled_from((1, 8, 64, len(found))))]
    return bytes(found)
