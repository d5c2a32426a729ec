"""Keys: what can be set, each said once, with its default, its bounds and its meaning; and values for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

T = TypeVar("T", int, float, bool)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Key(Generic[T]):
    """One thing that can be set. A number lies between `low` and `high`, both included; a flag has no bounds.

    `high_is_strict`: of two values of a limit, the higher one lets less pass; else the lower one, or false.
    """

    name: str
    default: T
    meaning: str
    low: float = 0
    high: float = 0
    high_is_strict: bool = False


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
