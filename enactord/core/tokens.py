"""Tokens of HTTP: who may do what, as a file says it: a line for each token, with its hash and not the token.

    planner-1 planner 2026-01-31T12:00:00Z sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

A token is 256 random bits, so its plain SHA-256 is enough: nobody can try so many. A slow hash (bcrypt, scrypt)
protects words that people choose, and would let strangers use up the processor. Only a text of the form in which
tokens are made is compared with them, so that no word that a person chose is ever one of these tokens.

A token that another program made (a Kubernetes secret, a secret store) stands in a file of its own, as it is. It is a
planner's, and `given_token` asks that it is long enough.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256

from enactord.core.moment import utc

SECRET_BYTES = 32
PREFIX = "enactord_"
"""What tokens begin with: programs that look for leaked secrets find them by it."""
TOKENS_MAX = 256
GIVEN_NAME = "planner"
"""The name of the token that was made elsewhere: what it publishes has this author."""
GIVEN_MIN, GIVEN_SAFE = 12, 22
"""Characters that such a token must have, and should have: 22 hold 128 random bits in base64."""
GIVEN_MADE_BY = "openssl rand -hex 32"

_TOKEN = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}\Z")
"""32 bytes in base64 for URLs, without padding. Source: RFC 4648 section 5."""
_GIVEN = re.compile(rb"[\x21-\x7e]+\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
_HASH = re.compile(r"sha256:[0-9a-f]{64}\Z")
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_HEADER = "# Tokens of enactord's HTTP: name, role, when made, hash. Change it with: enactorctl token\n"


class Role(StrEnum):
    """What the bearer of a token may do; each role may do what the roles before it may."""

    VIEWER = "viewer"
    """Read."""
    PLANNER = "planner"
    """Publish plans, under the token's name."""
    OPERATOR = "operator"
    """Everything."""

    def may(self, needed: "Role") -> bool:
        """Whether this role may do what asks for `needed`."""
        roles = list(Role)
        return roles.index(self) >= roles.index(needed)


class BadTokens(ValueError):
    """A file that holds no tokens as they are written; the message says why, and shows no part of a line but names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token: whose it is, what it may do, when it was made (seconds since the epoch), and its hash."""

    name: str
    role: Role
    made_at: float
    hash: str
    given: bool = False
    """Whether it was made elsewhere, so that any text could be it."""

    @property
    def line(self) -> str:
        """The token as a line of the file."""
        return f"{self.name} {self.role} {utc(self.made_at)} {self.hash}\n"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a file, in its order; no name is there twice."""

    all: Sequence[Token] = ()

    def __bool__(self) -> bool:
        return bool(self.all)

    def of(self, text: str) -> Token | None:
        """Return the token that a text is, or None.

        Every hash is compared, each in constant time: how long it takes tells nothing of the hashes.
        """
        ours, digest, found = bool(_TOKEN.match(text)), hashed(text), None
        for token in self.all:
            if hmac.compare_digest(token.hash, digest) and (ours or token.given):
                found = token
        return found

    def named(self, name: str) -> Token | None:
        """Return the token of a name, or None."""
        return next((token for token in self.all if token.name == name), None)


def hashed(token: str) -> str:
    """Return the hash of a token as the file has it. (`printf %s TOKEN | sha256sum` prints the same digits.)"""
    return f"sha256:{sha256(token.encode('utf-8', 'replace')).hexdigest()}"


def given_token(secret: bytes) -> Token:
    """Return the token of a planner that a file holds as it is. Raises `BadTokens`, and shows no part of it."""
    if not _GIVEN.match(secret):
        raise BadTokens(
            "it must hold one token: a line of ASCII characters without spaces (names, roles and hashes stand in the"
            " file of http.tokens_file)"
        )
    if len(secret) < GIVEN_MIN:
        raise BadTokens(
            f"its token has less than {GIVEN_MIN} characters and could be guessed; make one: {GIVEN_MADE_BY}"
        )
    return Token(name=GIVEN_NAME, role=Role.PLANNER, made_at=0.0, hash=hashed(secret.decode("ascii")), given=True)


def check_token_name(name: str) -> str:
    """Return why a text cannot name a token, or "". The text is not told: it could be a token itself."""
    if name.startswith(PREFIX):
        return "this is a token, or begins like one: give its name"
    if _NAME.match(name):
        return ""
    return "a name is 1 to 64 of letters, digits, '.', '_', '@' and '-', and begins with a letter or digit"


def tokens_text(tokens: Tokens) -> str:
    """Return what a file of these tokens holds."""
    return _HEADER + "".join(token.line for token in tokens.all)


def parse_tokens(content: bytes) -> Tokens:
    """Read a file of tokens; a file without any is sound: then nobody has a token. Raises `BadTokens`."""
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise BadTokens("it is not ASCII text; make it anew: enactorctl token create") from error
    found: dict[str, Token] = {}
    hashes: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        token = _parse_line(line, f"its line {number}")
        if token.name in found:
            raise BadTokens(f"its line {number} names {token.name} a second time; remove one of the two lines")
        if token.hash in hashes:
            raise BadTokens(f"its line {number} has the hash of an earlier line; a token has one name and one role")
        if len(found) == TOKENS_MAX:
            raise BadTokens(f"it holds more than {TOKENS_MAX} tokens")
        found[token.name] = token
        hashes.add(token.hash)
    return Tokens(tuple(found.values()))


def _parse_line(line: str, where: str) -> Token:
    """Return the token of a line. What stands there is not told: it could be the token itself."""
    fields = line.split()
    if len(fields) != 4 or check_token_name(fields[0]) or not _HASH.match(fields[3]):
        raise BadTokens(
            f"{where} must be NAME ROLE TIME sha256:HASH (never a token itself); make such lines with:"
            " enactorctl token create NAME --role ROLE"
        )
    name, role, made, digest = fields
    if role not in list(Role):
        raise BadTokens(f"{where}: the role of {name} must be one of {', '.join(Role)}")
    try:
        made_at = datetime.strptime(made, _TIME_FORMAT).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise BadTokens(f"{where}: the time of {name} must be as in 2026-01-31T12:00:00Z") from None
    if made_at < 0:
        raise BadTokens(f"{where}: the time of {name} is before 1970")
    return Token(name=name, role=Role(role), made_at=made_at, hash=digest)
