"""The file of HTTP's tokens: a token is made, shown once and kept as a hash; the others are listed and taken away."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from enactord.core.refusal import Refusal
from enactord.core.tokens import (
    PREFIX,
    SECRET_BYTES,
    TOKENS_MAX,
    BadTokens,
    Role,
    Token,
    Tokens,
    hashed,
    parse_tokens,
    tokens_text,
)
from enactord.operations.scope import Denied

FILE_BYTES_MAX = 64 * 1024
WRITABLE_BY_OTHERS = 0o022


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A token that was made; `secret` is in no file."""

    token: Token
    secret: str = field(repr=False)


def read_tokens(path: Path) -> Tokens | Denied:
    """Return the tokens of a file; none where there is no file yet. Raises OSError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return Tokens()
    if mode & WRITABLE_BY_OTHERS:
        return _denied("mode", writable(path))
    if len(content) > FILE_BYTES_MAX:
        return _denied("form", f"{path} is longer than {FILE_BYTES_MAX:,} bytes")
    try:
        return parse_tokens(content)
    except BadTokens as error:
        return _denied("form", f"{path}: {error}")


def writable(path: Path) -> str:
    """Return what to say of a file that others may write."""
    return f"{path} can be written by others than its owner, who could add tokens of theirs; chmod go-w {path}"


def create_token(path: Path, name: str, role: Role, now: float, *, replace: bool = False) -> Made | Denied:
    """Make a token, and put its hash into the file. Raises OSError.

    `replace`: put it in the place of the token that has the name. Else that is denied.
    """
    with _alone(path):
        tokens = read_tokens(path)
        if isinstance(tokens, Denied):
            return tokens
        before = tokens.named(name)
        if before is not None and not replace:
            detail = f"{path} has a token {name} already ({before.role}); to put another in its place: --replace"
            return _denied("name", detail)
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        token = Token(name=name, role=role, made_at=now, hash=hashed(secret))
        others = [other for other in tokens.all if other.name != name]
        if len(others) >= TOKENS_MAX:
            return _denied("number", f"{path} holds {TOKENS_MAX} tokens, which is the most; remove some")
        _write(path, Tokens((*others, token)))
        return Made(token=token, secret=secret)


def revoke_token(path: Path, name: str) -> Token | Denied:
    """Take a token away; returns what it was. A name that is not there is not told. Raises OSError."""
    with _alone(path):
        tokens = read_tokens(path)
        if isinstance(tokens, Denied):
            return tokens
        gone = tokens.named(name)
        if gone is None:
            return _denied("name", f"{path} has no token of that name (see: enactorctl token list)")
        _write(path, Tokens(tuple(token for token in tokens.all if token is not gone)))
        return gone


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other commands from changing the file meanwhile: a token that was removed must not come back."""
    folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(path: Path, tokens: Tokens) -> None:
    """Put a file in place, whole or not at all; one that is replaced keeps its owner, group and mode.

    A link stays a link: what it leads to is replaced.
    """
    path = path.resolve()
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        before = path.stat()
    except FileNotFoundError:
        before = None
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(tokens_text(tokens))
            if before is not None:
                with suppress(PermissionError):  # to another owner root alone can give it
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), before.st_mode & 0o777)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


def _denied(guard: str, detail: str) -> Denied:
    return Denied(refusals=(Refusal(guard=guard, detail=detail),))
