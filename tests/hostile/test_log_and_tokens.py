"""Whatever stands in an entry of the audit log or in a file of tokens, it is read as it is meant, or refused."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from enactord.core.moment import utc
from enactord.core.tokens import BadTokens, parse_tokens, tokens_text
from enactord.store.audit import Act, act_put, parse_act
from enactord.store.keys import Keys
from enactord.store.layout import AUDIT
from tests.hostile.effort import damaged, tries
from tests.tokens import secret_of, tokens

ACT = Act(at=1.7e9, author="a", role="operator", deed="freeze", reason="r", generation=3, facts={"zone": "x.", "n": 2})
ENTRY = act_put(Keys("s"), ACT, "0").value
JSON_TOKENS = [b"NaN", b"1e999", b"null", b"[]", b"{}", b"-1", b"1" * 400, b"true", b'"', b"\xff", b"[" * 2000]
FILE = tokens_text(tokens(alice="operator", planner="planner", viewer="viewer")).encode()
FILE_TOKENS = [
    *(b"\n", b" ", b"#", b"\0", b"\xff", b"sha256:", b"operator", b"alice", b"9999-12-31T23:59:59Z", b"\r", b"\x0b"),
    secret_of("planted").encode(),
]


@tries(400)
@given(damaged([ENTRY], tokens=JSON_TOKENS) | st.binary(max_size=60))
@example(AUDIT.value(b'{"at": 1e18}'))
@example(AUDIT.value(json.dumps(ACT.document() | {"generation": 1, "at": 9e10}).encode()))
def test_an_entry_is_read_whole_or_not_at_all(value: bytes) -> None:
    """What is read can be shown, and entered again."""
    act = parse_act(value)
    if act is not None:
        assert utc(act.at)
        json.dumps(act.document(), allow_nan=False)
        again = parse_act(act_put(Keys("s"), act, "0").value)
        assert again is not None
        assert (again.at, again.deed, again.generation) == (act.at, act.deed, act.generation)


@tries(400)
@given(damaged([FILE], tokens=FILE_TOKENS) | st.binary(max_size=200))
def test_a_file_of_tokens_is_read_or_refused_in_words_that_tell_no_token(content: bytes) -> None:
    """What is read is written as it was, opens nothing to who never had a token, and names nobody twice."""
    try:
        found = parse_tokens(content)
    except BadTokens as error:
        told = str(error)
    else:
        told = ""
        assert parse_tokens(tokens_text(found).encode()) == found
        assert len({token.name for token in found.all}) == len(found.all)
        assert found.of(secret_of("planted")) is None
    assert secret_of("planted") not in told
    assert len(told) < 500


@tries(400)
@given(st.text(max_size=80) | st.from_regex(r"enactord_[A-Za-z0-9_-]{0,50}", fullmatch=True))
def test_any_text_that_is_given_as_a_token_opens_nothing(text: str) -> None:
    assert parse_tokens(FILE).of(text) is None


def test_the_samples_are_sound() -> None:
    """What the tests above damage is accepted as it is: else they would test nothing."""
    assert parse_act(ENTRY) == ACT
    assert len(parse_tokens(FILE).all) == 3
