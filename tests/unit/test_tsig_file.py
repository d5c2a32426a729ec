"""The file of a TSIG key: what the tools of DNS servers print is read, and what is no key is said to be none."""

import base64
import shutil
import subprocess

import pytest

from enactord.wire.tsig import ALGORITHMS
from enactord.wire.tsig_file import KeyFile, NoKey, parse_algorithm, parse_key_file

SECRET = bytes(range(32))
SLASHES = b"\xff" * 32
"""In base64 this is //////…, which looks like a comment."""


def b64(secret: bytes = SECRET) -> str:
    return base64.b64encode(secret).decode()


def key(name: str = "enactor", algorithm: str = "hmac-sha256", secret: bytes = SECRET) -> KeyFile:
    return KeyFile(name=name, algorithm=algorithm, secret=secret)


CLAUSE = f'key "enactor" {{\n\talgorithm hmac-sha256;\n\tsecret "{b64()}";\n}};\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b64(), KeyFile(secret=SECRET)),
        (f"\ufeff{b64()}\r\n", KeyFile(secret=SECRET)),
        (f'  "{b64()}"\n\n', KeyFile(secret=SECRET)),
        (f"# of ns1\n; made in May\n// by hand\n{b64()}  # the newer\n", KeyFile(secret=SECRET)),
        (f"{b64()[:20]}\n{b64()[20:]}\n", KeyFile(secret=SECRET)),
        (b64(SLASHES), KeyFile(secret=SLASHES)),
        (f"# of ns1\n{b64(SLASHES)}\n", KeyFile(secret=SLASHES)),
        (CLAUSE, key()),
        (CLAUSE.replace("\n", "\r\n"), key()),
        (f'key enactor {{ secret {b64()}; algorithm "HMAC-SHA512" ; }}', key(algorithm="hmac-sha512")),
        (f'/* ns1:\n key "old" {{ */ # or\n{CLAUSE}// the end', key()),
        (f'key "a.b." {{ algorithm hmac-sha384.; secret "{b64(SLASHES)}"; }};', key("a.b.", "hmac-sha384", SLASHES)),
        (f"key:\n  - id: enactor\n    algorithm: hmac-sha256\n    secret: {b64(SLASHES)}\n", key(secret=SLASHES)),
        (f"# hmac-sha256:enactor:{b64()}\nkey:\n- id: enactor\n  algorithm: hmac-sha256\n  secret: {b64()}", key()),
        (f'- id: "enactor"\n  secret: {b64()}\n  algorithm: hmac-sha256', key()),
        (f"hmac-sha224:enactor:{b64(SLASHES)}\n", key(algorithm="hmac-sha224", secret=SLASHES)),
    ],
)
def test_every_form_that_tools_print_is_read(text: str, expected: KeyFile) -> None:
    """Line ends, comments, quotes, order and case as people and programs write them."""
    assert parse_key_file(text.encode()) == expected


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_what_tsig_keygen_prints_is_read(algorithm: str) -> None:
    """The program of BIND itself is the judge."""
    program = shutil.which("tsig-keygen", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert program is not None, "tsig-keygen is not installed"
    printed = subprocess.run([program, "-a", algorithm, "some.key"], check=True, capture_output=True, timeout=30).stdout
    read = parse_key_file(printed)
    assert (read.name, read.algorithm) == ("some.key", algorithm)
    assert b64(read.secret).encode() in printed


def test_what_keymgr_prints_is_read() -> None:
    """The program of Knot itself is the judge."""
    program = shutil.which("keymgr", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert program is not None, "keymgr is not installed"
    printed = subprocess.run([program, "-t", "some.key", "hmac-sha384"], check=True, capture_output=True, timeout=30)
    read = parse_key_file(printed.stdout)
    assert (read.name, read.algorithm) == ("some.key", "hmac-sha384")
    assert b64(read.secret).encode() in printed.stdout


def test_of_several_keys_the_named_one_is_taken() -> None:
    """Its name is compared as DNS compares names; without a name, or with one that is not there, none is."""
    text = (CLAUSE + CLAUSE.replace("enactor", "other")).encode()
    assert parse_key_file(text, name="OTHER.") == key("other")
    for name in ("", "third"):
        with pytest.raises(NoKey, match="several keys"):
            parse_key_file(text, name=name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("no base64!", "no base64"),
        (b64()[:-3], "no base64"),
        (b64(b"short"), "5 bytes is too short"),
        (CLAUSE[:-20], "not whole"),
        (CLAUSE[: len(CLAUSE) // 2], "not whole"),
        ('key "enactor" { algorithm hmac-sha256; };', "no secret"),
        (f'key "enactor" {{ secret "{b64()}"; }};', "no algorithm"),
        (f'key "enactor" {{ algorithm hmac-md5; secret "{b64()}"; }};', "hmac-md5 is refused"),
        (f'key "enactor" {{ algorithm hmac-sha256; algorithm hmac-sha512; secret "{b64()}"; }};', "more than one"),
        ("key:\n  - id: enactor\n", "no algorithm and no secret"),
        (f"key:\n  - id: e\n    algorithm: hmac-sha256\n    secret: {b64()}\nserver:\n  listen: x\n", "as keymgr"),
        ("\0\0\0\0", "no base64"),
    ],
)
def test_what_is_no_key_is_refused_with_the_forms_it_could_have(text: str, told: str) -> None:
    """The message says what is wrong, and never shows what may be a secret."""
    with pytest.raises(NoKey, match=told) as caught:
        parse_key_file(text.encode())
    assert b64()[:12] not in str(caught.value)


def test_what_is_not_text_is_refused() -> None:
    """A binary file is no key."""
    with pytest.raises(NoKey, match="not text"):
        parse_key_file(b"\xff\xfe\0k")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("hmac-sha256", "hmac-sha256"),
        ("HMAC-SHA256", "hmac-sha256"),
        ("Hmac-Sha384.", "hmac-sha384"),
        ("hmac-sha512.sig-alg.reg.int.", "hmac-sha512"),
    ],
)
def test_an_algorithm_is_known_in_any_form(given: str, read: str) -> None:
    """Case, a final dot and the old suffix say nothing."""
    assert parse_algorithm(given) == read


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("hmac-md5.sig-alg.reg.int.", "RFC 8945 forbids"),
        ("HMAC-MD5", "RFC 8945 forbids"),
        ("hmac-sha1", "broken"),
        ("gss-tsig", "Kerberos"),
        ("hmac-sha256-128", "shortened"),
        ("sha256", "must be one of hmac-sha256"),
    ],
)
def test_an_algorithm_that_is_refused_is_refused_with_the_reason(given: str, told: str) -> None:
    """And with what to take instead."""
    with pytest.raises(NoKey, match=told) as caught:
        parse_algorithm(given)
    assert "hmac-sha256" in str(caught.value)
