"""Keys: what can be set, each said once, with its default, its bounds and its meaning; and values for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

T = TypeVar("T", int, float, bool)


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
    def takes(self) -> str:
        """Which values it takes, in words: "true or false", "an integer from 1 to 9", "a number from 0 to 1"."""
        if isinstance(self.default, bool):
            return "true or false"
        if isinstance(self.default, int):
            return f"an integer from {int(self.low)} to {int(self.high)}"
        return f"a number from {self.low:g} to {self.high:g}"

    def checked(self, value: Any) -> T:
        """Return a value that it takes. Raises ValueError for any other."""
        kind = type(self.default)
        kinds = (int, float) if kind is float else (kind,)
        if type(value) not in kinds or not (kind is bool or self.low <= value <= self.high):
            raise ValueError(f"{self.name} must be {self.takes}")
        found: T = kind(value)
        return found


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
