"""Typed access to the keys of one table of the config: a value of a wrong kind is a problem, told with its line."""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from enactord.core import settings as kinds
from enactord.core.settings import Declared, declared
from enactord.core.tokens import GIVEN_MADE_BY, GIVEN_SAFE, BadTokens, Token, Tokens, given_token, parse_tokens
from enactord.operations.tokens import WRITABLE_BY_OTHERS, writable
from enactord.wire.address import Address, parse_address
from enactord.wire.tls import BadCertificate, check_authorities, check_pair

ADDRESSES_MAX = 16
TEXTS_MAX = 64
SECRET_BYTES_MAX = 64 * 1024
SHOWN_MAX = 100
_LIKE_A_PATH = re.compile(r"^(%d/|\.{0,2}/)|\.|^[a-z-]{1,16}$")
"""A text that is meant as a path; a secret by mistake in its place is longer, and has digits or capitals."""


class Document(Protocol):
    """The config that a table is of: where its problems go, and what its files hold."""

    @property
    def base(self) -> Path:
        """The folder that paths are relative to."""
        ...

    @property
    def for_daemon(self) -> bool: ...

    def key_line(self, table: str, key: str, index: int) -> int: ...

    def add(self, line: int, key: str, text: str) -> None:
        """Note a problem."""
        ...

    def warn(self, text: str) -> None: ...

    def content(self, path: Path) -> bytes:
        """Return what a file holds. Raises OSError."""
        ...

    def uses(self, keys: tuple[str, ...], paths: tuple[Path, ...]) -> None:
        """Note that these files are used."""
        ...


class Table:
    """One table: typed access to its keys; a value of a wrong kind is a problem, and the default is used on."""

    def __init__(
        self,
        reader: Document,
        name: str,
        values: Mapping[str, Any],
        index: int,
        known: tuple[str, ...],
    ) -> None:
        self._reader = reader
        self._name = name
        self._values = values
        self._index = index
        self._pairs: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        for key in values:
            if key not in known:
                self.problem(key, f"unknown key{nearest(key, known)}")

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are given."""
        return tuple(self._values)

    @property
    def for_daemon(self) -> bool:
        """Whether an enactor is to run by it; tools for people need less."""
        return self._reader.for_daemon

    def read(self, table: type[Any]) -> dict[str, Any]:
        """Return the values of a class's fields: what is given for its keys, or their defaults. Problems are told."""
        return {key.field: self._value(key) for key in declared(table)}

    def _value(self, key: Declared) -> Any:
        required = key.required and (self.for_daemon or not key.for_daemon)
        match key.kind:
            case kinds.Integer() | kinds.Number() | kinds.Flag() as kind:
                return self.scalar(key.name, kind, key.default)
            case kinds.Text(parse=parse):
                return self.text(key.name, key.default, required=required, parse=parse)
            case kinds.Choice(words=words):
                return self.text(key.name, key.default, required=required, choices=tuple(words))
            case kinds.Texts():
                return self.texts(key.name)
            case kinds.Place():
                return self._folder(key.name) or key.default
            case kinds.Addresses(listed=True):
                return self.addresses(key.name)
            case kinds.Addresses(several=True):
                return self.one_or_more(key.name, key.default, required=required)
            case kinds.Addresses():
                return (self.address(key.name, key.default[0], required=required),)
            case kinds.File(holds=kinds.Holds.SECRET):
                return self.secret(key.name, required=required)
            case kinds.File(holds=kinds.Holds.AUTHORITIES):
                return self.authorities(key.name)
            case kinds.File(holds=kinds.Holds.TOKENS):
                return self.tokens(key.name, read=self.for_daemon)
            case kinds.File(holds=kinds.Holds.GIVEN_TOKEN):
                return self.given_token(key.name, read=self.for_daemon)
            case kinds.PairFile(keys=(cert, secret)):
                return self.pair(cert, secret)[key.name == secret]

    def line(self, key: str) -> int:
        return self._reader.key_line(self._name, key, self._index)

    def problem(self, key: str, text: str) -> None:
        self._reader.add(self.line(key), f"{self._name}.{key}", text)

    def warn(self, key: str, text: str) -> None:
        self._reader.warn(f"{self._name}.{key}: {text}")

    def text(
        self,
        key: str,
        default: str,
        *,
        required: bool = False,
        choices: tuple[str, ...] = (),
        parse: Callable[[str], Any] = str,
    ) -> Any:
        """Return what a text means, as `parse` reads it; it raises ValueError for one that means nothing."""
        value = self._values.get(key)
        if value is None:
            if required:
                self.problem(key, f'is missing; add a line to the table: {key} = "…"')
            return default
        if not isinstance(value, str) or (required and not value):
            what = "something else" if key.endswith("_file") else shown(value)  # it could be the secret itself
            self.problem(key, f"must be a text, is {what}")
            return default
        if choices and value not in choices:
            self.problem(key, f"{shown(value)} must be one of {', '.join(choices)}")
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.problem(key, str(error))
            return default

    def scalar(self, key: str, kind: kinds.Integer | kinds.Number | kinds.Flag, default: Any) -> Any:
        """Return a number or a flag."""
        value = self._values.get(key, default)
        try:
            return kind.checked(value)
        except ValueError:
            self.problem(key, f"must be {kind.takes}, is {shown(value)}{_quoted(value)}")
            return default

    def texts(self, key: str) -> tuple[str, ...]:
        """Return texts that are given as a list."""
        value = self._values.get(key, [])
        sound = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
        if not sound or len(value) > TEXTS_MAX:
            self.problem(key, f"must be a list of at most {TEXTS_MAX} texts, is {shown(value)}")
            return ()
        return tuple(value)

    def path(self, key: str) -> Path | None:
        """Return a path relative to the config's folder, or below systemd's credentials where it begins with %d/."""
        value: str = self.text(key, "")
        if "\0" in value:
            self.problem(key, "no path has a zero byte")
            return None
        if value.startswith("%d/"):
            credentials = os.environ.get("CREDENTIALS_DIRECTORY", "")
            if not credentials:
                self.problem(key, _NO_CREDENTIALS)
                return None
            return Path(credentials) / value.removeprefix("%d/")
        return self._reader.base / value if value else None

    def _folder(self, key: str) -> Path | None:
        """Return the path of a folder, which need not be there yet."""
        path = self.path(key)
        if path is None and key in self._values:
            self.problem(key, "names no folder; leave the line out, or name one")
        try:
            if path is not None and path.exists() and not path.is_dir():
                self.problem(key, f"{path} is no folder; name another")
        except PermissionError:
            return path  # who may not look is told by whoever has to write there
        except OSError as error:
            self.problem(key, f"{error.strerror}; name another")
        return path

    def authorities(self, key: str) -> bytes:
        """Return the certificates of a file that names whom to trust."""
        path = self.path(key)
        if path is None:
            return b""
        self._uses(path, key)
        content = self._content(key, path)
        try:
            if content is not None:
                check_authorities(content)
        except BadCertificate as error:
            self.problem(key, f"{path}: {error}")
        return content or b""

    def pair(self, cert: str, key: str) -> tuple[bytes, bytes]:
        """Return a certificate and its key, which belong together; they are read once."""
        if (cert, key) not in self._pairs:
            self._pairs[cert, key] = self._read_pair(cert, key)
        return self._pairs[cert, key]

    def _read_pair(self, cert: str, key: str) -> tuple[bytes, bytes]:
        paths = {name: path for name in (cert, key) if (path := self.path(name)) is not None}
        if len(paths) == 1:
            self.problem(
                *(
                    (cert, f"goes together with {key}; set both")
                    if cert in paths
                    else (key, f"goes together with {cert}; set both")
                )
            )
        if len(paths) < 2:
            return b"", b""
        self._reader.uses(tuple(self._full(name) for name in paths), tuple(paths.values()))
        contents = [self._content(name, path) for name, path in paths.items()]
        shown, secret = contents
        if shown is None or secret is None:
            return b"", b""
        try:
            check_pair(shown, secret)
        except BadCertificate as error:
            self.problem(cert, f"{paths[cert]} and {paths[key]}: {error}")
        return shown, secret

    def _uses(self, path: Path, key: str) -> None:
        self._reader.uses((self._full(key),), (path,))

    def _full(self, key: str) -> str:
        """Return a key as it is told to people: with its table, and the zone where it is of one."""
        name = self._values.get("name")
        table = f"zone[{name if isinstance(name, str) else '?'}]" if self._name == "zone" else self._name
        return f"{table}.{key}"

    def _content(self, key: str, path: Path, *, make: str = "") -> bytes | None:
        """Return a file's content; where it cannot be read, that is a problem. `make`: how a missing file is made."""
        try:
            return self._reader.content(path)
        except OSError as error:
            given = str(self._values.get(key))
            if _LIKE_A_PATH.search(given):
                missing = make or "; make the file, or correct its name here"
                denied = "; let the user that enactord runs as read it"
                hint = missing if isinstance(error, FileNotFoundError) else denied
                self.problem(key, f"{path}: {error.strerror}{hint if _of_the_file(error) else ''}")
            else:
                told = "the name is not shown, as it could be the secret itself; secrets stand in files of their own"
                self.problem(key, f"there is no such file, or it cannot be read ({told})")
            return None

    def secret(self, key: str, *, required: bool = False) -> bytes:
        """Return what a file of one secret holds, without the newline at its end."""
        if required and not self._values.get(key):
            self.problem(key, "is missing: secrets stand in files of their own")
            return b""
        path = self.path(key)
        if path is None:
            return b""
        self._uses(path, key)
        content = self._content(key, path)
        if content is None:
            return b""
        secret = content.strip()
        if not secret:
            self.problem(key, f"{path} is empty; put the secret into it")
            return b""
        if len(secret) > SECRET_BYTES_MAX:
            self.problem(key, f"{path} must hold a secret of at most {SECRET_BYTES_MAX:,} bytes, and nothing else")
            return b""
        if self._mode(path) & 0o007:
            self._reader.warn(f"{self._name}.{key}: {path} can be read by everybody; chmod o= {path}")
        return secret

    def tokens(self, key: str, *, read: bool) -> Tokens:
        """Return the tokens of a file; without `read`, the file is named and not looked at."""
        path = self.path(key)
        if path is None:
            return Tokens()
        self._uses(path, key)
        if not read:
            return Tokens()
        content = self._content(key, path, make=" (no token was made yet? enactorctl token create NAME --role ROLE)")
        if content is None:
            return Tokens()
        if self._mode(path) & WRITABLE_BY_OTHERS:
            self.problem(key, writable(path))
            return Tokens()
        try:
            return parse_tokens(content)
        except BadTokens as error:
            self.problem(key, f"{path}: {error}")
            return Tokens()

    def given_token(self, key: str, *, read: bool) -> Token | None:
        """Return the one token that a file holds as it is; without `read`, the file is named and not looked at."""
        path = self.path(key)
        if path is None:
            return None
        if not read:
            self._uses(path, key)
            return None
        secret = self.secret(key)
        if not secret:
            return None
        try:
            token = given_token(secret)
        except BadTokens as error:
            self.problem(key, f"{path}: {error}")
            return None
        if len(secret) < GIVEN_SAFE:
            told = f"{path} holds a token of {len(secret)} characters, which could be guessed; make a longer one"
            self._reader.warn(f"{self._name}.{key}: {told}: {GIVEN_MADE_BY}")
        return token

    def _mode(self, path: Path) -> int:
        try:
            return path.stat().st_mode
        except OSError:  # replaced in this very moment
            return 0

    def address(self, key: str, default: Address, *, required: bool = False) -> Address:
        value = self.text(key, "", required=required)
        return self._address(key, value) or default if value else default

    def addresses(self, key: str) -> tuple[Address, ...]:
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.problem(key, 'must be a list of "host:port"')
            return ()
        return tuple(address for one in value if (address := self._address(key, one)) is not None)

    def one_or_more(self, key: str, default: tuple[Address, ...], *, required: bool = False) -> tuple[Address, ...]:
        """Return addresses that are given as a text, or as a list of them without doubles."""
        value = self._values.get(key)
        if value is None:
            if required:
                self.problem(key, f'is missing; add a line to the table: {key} = "host:port"')
            return default
        texts = value if isinstance(value, list) else [value]
        if not texts or len(texts) > ADDRESSES_MAX or not all(isinstance(text, str) for text in texts):
            self.problem(key, f'must be "host:port", or a list of 1 to {ADDRESSES_MAX} of them, is {shown(value)}')
            return default
        addresses = tuple(
            address for text in texts if (address := self._address(key, text, more=", or a list of such")) is not None
        )
        if len(set(addresses)) < len(addresses):
            self.problem(key, "names an address twice; remove one of the two")
        return addresses or default

    def _address(self, key: str, value: str, more: str = "") -> Address | None:
        address = parse_address(value)
        if address is None:
            self.problem(key, f'{shown(value)} must be "host:port" (an IPv6 address in brackets){more}')
        return address


_NO_CREDENTIALS = (
    "%d is $CREDENTIALS_DIRECTORY, which is not set: systemd's LoadCredential= sets it;"
    " by hand: export CREDENTIALS_DIRECTORY=/etc/enactord/credentials"
)


def _of_the_file(error: OSError) -> bool:
    """Whether an error is the file's own: its name, or who may read it."""
    return isinstance(error, FileNotFoundError | PermissionError)


def _quoted(value: object) -> str:
    """Return what to do about a number or a flag that is given as a text."""
    bare = isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?|true|false", value)
    return "; write it without quotes" if bare else ""


def shown(value: object) -> str:
    """Return a value as it is told back: short, however long it is."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):
        return "a value that is too long"


def cut(text: str, length: int = SHOWN_MAX) -> str:
    return text if len(text) <= length else text[:length] + "…"


def nearest(word: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(cut(word), list(known), n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(known)}"
