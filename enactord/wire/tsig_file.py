"""The file of a TSIG key, in the forms that DNS servers' own tools print.

key "name" { algorithm hmac-sha256; secret "…"; };     tsig-keygen, named.conf
key: / - id: name / algorithm: … / secret: …           keymgr -t, knot.conf
hmac-sha256:name:…                                     dig -y, kdig -y
…                                                      the secret alone, in base64
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from enactord.wire.tsig import ALGORITHMS

SECRET_BYTES_MIN = 16

_COMMENTS_OF_CLAUSES = re.compile(r'("[^"\n]*")|/\*.*?\*/|(?://|#)[^\n]*', re.DOTALL)
"""As BIND has them: of C, C++ and shell; none inside a quoted text."""
_COMMENTS_ELSEWHERE = re.compile(r"^\s*(?:[#;]|//\s).*$|\s#.*$", re.MULTILINE)
"""Base64 has slashes: a "//" is a comment only where a line begins so, and a space follows."""
_IN_CLAUSES = re.compile(r'(?:^|[\s;])key\s[^{};]*\{|(?:^|[\s;])key"')
_CLAUSE = re.compile(r'key\s+("[^"\n]*"|[^\s{};"]+)\s*\{([^{}]*)\}\s*;?')
_STATEMENT = re.compile(r'\s*(algorithm|secret)\s+("[^"\n]*"|[^\s;"]+)\s*;')
_YAML_LINE = re.compile(r"(\s*-)?\s*([a-z-]+)\s*:\s*(.*?)\s*")
_ONE_LINE = re.compile(r"([A-Za-z0-9.-]+):([^\s:]+):([^\s:]+)")
_NOT_ENOUGH = {
    "hmac-md5": "RFC 8945 forbids it for new keys",
    "hmac-sha1": "its hash is broken",
    "gss-tsig": "it needs Kerberos, and no shared secret",
}
_MAKE = "tsig-keygen -a hmac-sha256 enactord"
_FORMS = (
    'it must hold a key as tsig-keygen prints it (key "name" { algorithm …; secret "…"; };),'
    " as keymgr -t prints it, or the secret alone in base64"
)


class NoKey(ValueError):
    """A content that is no TSIG key that can be used; the message says why, and never shows the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """What a file says of a key; name and algorithm are empty where it holds the secret alone."""

    name: str = ""
    algorithm: str = ""
    secret: bytes = field(repr=False)


def parse_key_file(content: bytes, *, name: str = "") -> KeyFile:
    """Read a key's file; of several keys the one of this name. Raises `NoKey`."""
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise NoKey(f"it is not text: {_FORMS}") from error
    keys = _parse(text)
    if len(keys) > 1:
        keys = [key for key in keys if same_name(key.name, name)] if name else keys
        if len(keys) != 1:
            raise NoKey(f"it holds several keys, {'none' if name and not keys else 'and not one'} named by tsig_name")
    return keys[0]


def same_name(one: str, other: str) -> bool:
    """Whether two names of keys are equal, as DNS compares them."""
    return one.lower().rstrip(".") == other.lower().rstrip(".")


def parse_algorithm(text: str) -> str:
    """Return an algorithm's name as `ALGORITHMS` has it. Raises `NoKey` for another.

    Any case, a final dot and the suffix of hmac-md5 are taken: programs print all of them.
    """
    name = text.lower().rstrip(".").removesuffix(".sig-alg.reg.int")
    if name in ALGORITHMS:
        return name
    known = ", ".join(ALGORITHMS)
    if name in _NOT_ENOUGH:
        raise NoKey(f"{name} is refused: {_NOT_ENOUGH[name]}; make a key of one of {known}: {_MAKE}")
    if re.fullmatch(r"hmac-[a-z0-9]+-\d+", name):
        raise NoKey(f"{name[:40]} is refused: its signatures are shortened; make a key of one of {known}")
    given = f"{text!r} " if re.fullmatch(r"[A-Za-z]{1,8}(-?[A-Za-z0-9]{1,8}){0,2}", text) else ""  # else the secret?
    raise NoKey(f"{given}must be one of {known}")


def _parse(text: str) -> Sequence[KeyFile]:
    if _IN_CLAUSES.search(text):
        bare = _COMMENTS_OF_CLAUSES.sub(lambda found: found[1] or " ", text).strip()
    else:
        bare = _COMMENTS_ELSEWHERE.sub("", text).strip()
    if not bare:
        raise NoKey(f"it is empty: {_FORMS}")
    forms: Sequence[tuple[Callable[[str], bool], Callable[[str], Sequence[KeyFile]]]] = (
        (lambda text: re.match(r'key[\s"][^:]*\{', text) is not None, _clauses),
        (lambda text: re.match(r"(key\s*:|-\s*id\s*:)", text) is not None, _yaml),
        (lambda text: _ONE_LINE.fullmatch(text) is not None, _one_line),
    )
    for fits, read in forms:
        if fits(bare):
            return read(bare)
    return [KeyFile(secret=_secret(bare))]


def _clauses(text: str) -> Sequence[KeyFile]:
    """Read the clauses of named.conf."""
    keys: list[KeyFile] = []
    rest = text
    while rest:
        clause = _CLAUSE.match(rest)
        if clause is None:
            raise NoKey(f"a key's clause is not whole: {_FORMS}")
        body, given = clause[2], dict[str, str]()
        while body.strip():
            statement = _STATEMENT.match(body)
            if statement is None or statement[1] in given:
                raise NoKey(f"a key's clause holds more than one algorithm and one secret: {_FORMS}")
            given[statement[1]] = statement[2].strip('"')
            body = body[statement.end() :]
        keys.append(_key(clause[1].strip('"'), given))
        rest = rest[clause.end() :].strip()
    return keys


def _yaml(text: str) -> Sequence[KeyFile]:
    """Read the section `key` of knot.conf; no other YAML."""
    keys: list[dict[str, str]] = []
    for line in text.splitlines():
        found = _YAML_LINE.fullmatch(line)
        if not line.strip() or line.strip() == "key:":
            continue
        if found is None or (not keys and not found[1]):
            raise NoKey(f"the section `key` is not as keymgr prints it: {_FORMS}")
        if found[1]:
            keys.append({})
        if found[2] not in ("id", "algorithm", "secret") or found[2] in keys[-1]:
            raise NoKey(f"the section `key` is not as keymgr prints it: {_FORMS}")
        keys[-1][found[2]] = found[3].strip("\"'")
    if not keys:
        raise NoKey(f"the section `key` holds no key: {_FORMS}")
    return [_key(given.get("id", ""), given) for given in keys]


def _one_line(text: str) -> Sequence[KeyFile]:
    found = _ONE_LINE.fullmatch(text)
    assert found is not None
    return [_key(found[2], {"algorithm": found[1], "secret": found[3]})]


def _key(name: str, given: dict[str, str]) -> KeyFile:
    missing = [
        part for part, value in (("name", name), *((p, given.get(p)) for p in ("algorithm", "secret"))) if not value
    ]
    if missing:
        raise NoKey(f"the key in it has no {' and no '.join(missing)}: {_FORMS}")
    return KeyFile(name=name, algorithm=parse_algorithm(given["algorithm"]), secret=_secret(given["secret"]))


def _secret(text: str) -> bytes:
    """Return a secret given in base64, in quotes or not, on one line or several."""
    try:
        secret = base64.b64decode("".join(text.strip("\"'").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoKey(f"it is no base64: {_FORMS}") from error
    if len(secret) < SECRET_BYTES_MIN:
        raise NoKey(
            f"a secret of {len(secret)} bytes is too short, {SECRET_BYTES_MIN} are the least; make one: {_MAKE}"
        )
    return secret
