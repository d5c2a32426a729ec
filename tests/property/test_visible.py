"""Whatever a text holds: nothing of it acts on a terminal, and a program reads back what was written."""

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from enactord.core.visible import json_text, plain, visible
from tests.hidden import HIDING, hidden

ADVERSE = (
    "\x1b]0;title\x07\x1b[2J\x1b[1;1Hall fine",
    "\u009b31m",
    "\rCR",
    "a\u202ecod.exe\u202c",
    "\u2066x\u2069\u200f\u061c\ufeff",
    "line\u2028paragraph\u2029next\u0085",
    "\ud800 alone \udfff",
    "tag\U000e0041\U000e007f",
    "soft\u00adhyphen",
    "\x7f\x00",
    "new\nline\ttab",
)
texts = st.lists(st.one_of(st.text(st.characters()), st.sampled_from(ADVERSE))).map("".join)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(), st.builds(object)),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.one_of(texts, st.integers(), st.binary()), inner), st.tuples(inner)
    ),
    max_leaves=20,
)


def test_every_character_that_hides_or_acts_is_made_visible() -> None:
    """Of all characters that Unicode has: controls, formats, lone surrogates, separators of lines."""
    every = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in HIDING]
    assert len(every) > 2000
    assert [c for c in every if visible(c) == c or not visible(c).startswith("\\u")] == []


def test_letters_of_all_scripts_stay() -> None:
    """Names and reasons of people are read as they were written."""
    text = "Störung — 漢字 ✓ Ελλάδα עברית العربية हिन्दी 🙂 \\u001b"
    assert visible(text) == text


@given(texts)
def test_visible_text_hides_nothing_and_is_one_line(text: str) -> None:
    """No line end is left: an author cannot forge a line of its own."""
    shown = visible(text)
    assert not hidden(shown)
    assert visible(shown) == shown
    assert not hidden(visible(text, lines=True), but="\n\t")
    assert visible(text, lines=True).count("\n") == text.count("\n")


@given(texts, st.booleans(), st.sampled_from([None, 2]))
def test_json_hides_nothing_and_reads_back_the_same(text: str, ascii_only: bool, indent: int | None) -> None:
    """Escapes stand in the strings alone: the document is JSON, and what it says is unchanged."""
    whole = text.encode("utf-16", "surrogatepass").decode(
        "utf-16", "surrogatepass"
    )  # halves that stand together are one
    document = {whole: [whole, {"n": 1}]}
    made = json_text(document, indent=indent, ascii_only=ascii_only)
    assert not hidden(made, but="\n")
    assert json.loads(made) == document
    assert not ascii_only or made.isascii()


@given(values)
def test_any_value_becomes_a_document_of_bounded_size(value: object) -> None:
    """A log line is made of what comes: NaN, bytes, huge numbers, keys that are no text."""
    made = json_text(plain(value, 50, 3), ascii_only=True)
    json.loads(made, parse_constant=lambda constant: (_ for _ in ()).throw(AssertionError(constant)))


def test_plain_survives_a_value_that_cannot_say_what_it_is() -> None:
    """Neither a `repr` that raises, nor a list that holds itself, nor an endless number is an error."""

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    endless: list[object] = [1, 10**5000]
    endless.append(endless)
    made = plain({"mute": Mute(), "endless": endless}, 50, 3)
    assert made["mute"] == "<Mute that cannot be shown>"
    assert len(json_text(made)) < 1000
