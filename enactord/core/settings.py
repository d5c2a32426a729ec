"""What can be set: each key is declared once, with the values that it takes, its default and its meaning.

Limits of guards are a `Key` each, gathered in `Values`. A table of the config is a frozen dataclass whose fields are
declared by the functions below (`integer`, `number`, `text`, `declare`). Reader, documents and reload walk them.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

T = TypeVar("T", int, float, bool)


def _plain(number: float) -> str:
    """Return a number without an exponent."""
    return str(int(number)) if number == int(number) else f"{number:g}"


@dataclass(frozen=True, slots=True)
class Integer:
    """Integers from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def takes(self) -> str:
        return f"an integer from {self.low} to {self.high}"

    def checked(self, value: Any) -> int:
        """Return a value that it takes. Raises ValueError for any other."""
        if type(value) is not int or not self.low <= value <= self.high:
            raise ValueError(f"must be {self.takes}")
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float

    @property
    def takes(self) -> str:
        return f"a number from {_plain(self.low)} to {_plain(self.high)}"

    def checked(self, value: Any) -> float:
        """Return a value that it takes. Raises ValueError for any other."""
        if type(value) not in (int, float) or not self.low <= value <= self.high:
            raise ValueError(f"must be {self.takes}")
        return float(value)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    takes: ClassVar[str] = "true or false"

    def checked(self, value: Any) -> bool:
        """Return a value that it takes. Raises ValueError for any other."""
        if type(value) is not bool:
            raise ValueError(f"must be {self.takes}")
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """Texts that `parse` reads; it returns what the text means, and raises ValueError for one that means nothing."""

    parse: Callable[[str], Any]
    takes: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: Sequence[str]

    @property
    def takes(self) -> str:
        return f"one of {', '.join(self.words)}"


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of texts."""

    takes: ClassVar[str] = "a list of texts"


@dataclass(frozen=True, slots=True)
class Place:
    """A path, relative to the config's folder."""

    takes: ClassVar[str] = "a path"


@dataclass(frozen=True, slots=True)
class Addresses:
    """ "host:port"; with `several`, or a list of such; with `listed`, always a list."""

    several: bool = False
    listed: bool = False

    @property
    def takes(self) -> str:
        if self.listed:
            return 'a list of "host:port"'
        return '"host:port", or a list of them' if self.several else '"host:port" (an IPv6 address in brackets)'


class Holds(Enum):
    """What a file that a key names may hold; the key's value is that."""

    SECRET = "one secret"
    AUTHORITIES = "certificates that are trusted"
    TOKENS = "tokens, a line each"
    GIVEN_TOKEN = "one token as it is"


@dataclass(frozen=True, slots=True)
class File:
    """The path of a file; the value is what the file holds."""

    holds: Holds
    takes: ClassVar[str] = "a path"


@dataclass(frozen=True, slots=True)
class PairFile:
    """The path of a certificate, or of its key: `keys` names both, certificate first. The value is what it holds."""

    keys: tuple[str, str]
    takes: ClassVar[str] = "a path"


Kind = Integer | Number | Flag | Text | Choice | Texts | Place | Addresses | File | PairFile
"""What values a key takes, and how they are read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Key(Generic[T]):
    """One thing that can be set. A number lies between `low` and `high`, both included; a flag has no bounds.

    `high_is_strict`: of two values of a limit, the higher one, or true, lets less pass; else the lower one, or false.
    """

    name: str
    default: T
    meaning: str
    low: float = 0
    high: float = 0
    high_is_strict: bool = False

    @property
    def kind(self) -> Integer | Number | Flag:
        if isinstance(self.default, bool):
            return Flag()
        if isinstance(self.default, int):
            return Integer(int(self.low), int(self.high))
        return Number(self.low, self.high)

    @property
    def takes(self) -> str:
        """Which values it takes, in words: "true or false", "an integer from 1 to 9", "a number from 0 to 1"."""
        return self.kind.takes

    def checked(self, value: Any) -> T:
        """Return a value that it takes. Raises ValueError for any other."""
        try:
            found: Any = self.kind.checked(value)
        except ValueError as error:
            raise ValueError(f"{self.name} {error}") from None
        return cast("T", found)


class Values:
    """A value for each key of a set: the one given, else its default. Never changed once made."""

    KEYS: ClassVar[Sequence[Key[Any]]] = ()
    __slots__ = ("_values",)

    def __init__(self, **given: Any) -> None:
        """Raises `TypeError` for a name that no key has."""
        unknown = given.keys() - {key.name for key in self.KEYS}
        if unknown:
            raise TypeError(f"no key is called {min(unknown)}")
        self._values: dict[Key[Any], Any] = {key: given.get(key.name, key.default) for key in self.KEYS}

    def __getitem__(self, key: Key[T]) -> T:
        """Return the value of a key. Raises `KeyError` for a key of another set."""
        value: T = self._values[key]
        return value

    def by_name(self) -> dict[str, Any]:
        """Return each value by its key's name, in the order of the keys."""
        return {key.name: value for key, value in self._values.items()}

    def replaced(self, **given: Any) -> Self:
        """Return the same with other values for these names."""
        return type(self)(**(self.by_name() | given))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Values) and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(self._values.values()))

    def __repr__(self) -> str:
        others = {key.name: value for key, value in self._values.items() if value != key.default}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in others.items())})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A key of a table of the config, as its field declares it.

    `field`: the field's name, which is not always the key's: the field `password` holds what the file behind the key
    `password_file` held. `required`: the table cannot be without it; `for_daemon`: tools for people can.
    `reload`: it may change while the enactor runs.
    """

    name: str
    field: str
    kind: Kind
    default: Any
    meaning: str
    required: bool = False
    for_daemon: bool = False
    reload: bool = False


_DECLARED: dict[type[Any], tuple[Declared, ...]] = {}
"""What was read of each class: a config of a thousand zones asks as often."""


def declared(table: type[Any]) -> tuple[Declared, ...]:
    """Return the keys that a table's class declares, in their order: `Values` by its keys, a dataclass by its fields.

    Every limit may change while the enactor runs: a running one takes its limits from the store.
    """
    if table not in _DECLARED:
        _DECLARED[table] = tuple(_of_values(table) if issubclass(table, Values) else _of_fields(table))
    return _DECLARED[table]


def _of_values(table: type[Values]) -> Iterator[Declared]:
    for key in table.KEYS:
        yield Declared(
            name=key.name, field=key.name, kind=key.kind, default=key.default, meaning=key.meaning, reload=True
        )


def _of_fields(table: type[Any]) -> Iterator[Declared]:
    for field in dataclasses.fields(table):
        if "key" in field.metadata:
            yield Declared(field=field.name, default=field.default, **({"name": field.name} | field.metadata["key"]))


def declare(kind: Kind, default: Any, meaning: str, *, name: str = "", secret: bool = False, **more: bool) -> Any:
    """Declare a key as a field of a table's class. `secret`: its value is never shown. `more`: as `Declared` has it."""
    stated = {"kind": kind, "meaning": " ".join(meaning.split())} | ({"name": name} if name else {}) | more
    return dataclasses.field(default=default, repr=not secret, metadata={"key": stated})


def integer(default: int, *, low: int, high: int, meaning: str, reload: bool = False) -> Any:
    """Declare a key that takes an integer."""
    return declare(Integer(low, high), default, meaning, reload=reload)


def number(default: float, *, low: float, high: float, meaning: str, reload: bool = False) -> Any:
    """Declare a key that takes a number."""
    return declare(Number(low, high), default, meaning, reload=reload)


def text(
    default: str = "",
    *,
    meaning: str,
    parse: Callable[[str], Any] = str,
    takes: str = "a text",
    required: bool = False,
    for_daemon: bool = False,
    reload: bool = False,
) -> Any:
    """Declare a key that takes a text."""
    return declare(Text(parse, takes), default, meaning, required=required, for_daemon=for_daemon, reload=reload)
