"""Measures: how much a plan is, and what goes from one plan to another, counted over the contents of its names.

What goes from one plan to the next is kept with the plan, and the sum over several steps is never less than what goes
in all. So a sum that every guard lets pass needs no look at any name; beyond it, the contents are compared.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from enactord.core.content import served

_TARGET = re.compile(r'\["([0-9a-f.:]+)",(\d+)')
"""A target of a content text. Text of planners cannot look like it: JSON has a backslash before each quote there."""


class Size(NamedTuple):
    """How much a plan, or its part of a zone, is: endpoints, their weight, and the addresses that they serve."""

    endpoints: int = 0
    weight: int = 0
    addresses: int = 0

    def joined(self, other: "Size") -> "Size":
        """Return how much two parts of a plan are together."""
        return Size(self.endpoints + other.endpoints, self.weight + other.weight, self.addresses + other.addresses)


@dataclass(frozen=True, slots=True)
class Loss:
    """What goes from one plan to another.

    `removed`: names that the other plan lacks. `replaced`: names that keep none of their addresses. `touched`: names
    that are removed or lose an address. `weight`, `addresses`: the sum, over names, of what each loses of them.
    `spared_*`: the part of that which goes at names that the other plan leaves empty: they are held as they are.
    """

    removed: int = 0
    replaced: int = 0
    touched: int = 0
    weight: int = 0
    addresses: int = 0
    spared_weight: int = 0
    spared_addresses: int = 0

    def __add__(self, other: "Loss") -> "Loss":
        """Return at least what goes in both steps, one after the other.

        A name that keeps an address in each step may have lost all at the end; it was touched. What one step spares,
        the next may lose.
        """
        touched = self.touched + other.touched
        return Loss(
            removed=self.removed + other.removed,
            replaced=touched,
            touched=touched,
            weight=self.weight + other.weight,
            addresses=self.addresses + other.addresses,
        )

    def joined(self, other: "Loss") -> "Loss":
        """Return what goes in two parts of a plan together."""
        return Loss(*[mine + theirs for mine, theirs in zip(self.cells(), other.cells(), strict=True)])

    def within(self, size: Size) -> "Loss":
        """Return the same, no more than there is: a sum of many steps may count a name several times."""
        return Loss(
            removed=min(self.removed, size.endpoints),
            replaced=min(self.replaced, size.endpoints),
            touched=min(self.touched, size.endpoints),
            weight=min(self.weight, size.weight),
            addresses=min(self.addresses, size.addresses),
            spared_weight=self.spared_weight,
            spared_addresses=self.spared_addresses,
        )

    def cells(self) -> tuple[int, ...]:
        """Return the numbers in the order of the fields."""
        return (
            self.removed,
            self.replaced,
            self.touched,
            self.weight,
            self.addresses,
            self.spared_weight,
            self.spared_addresses,
        )


NO_LOSS = Loss()


def usable(text: str) -> dict[str, int]:
    """Return weight by address of a content text, without the addresses that are not served."""
    return {address: int(weight) for address, weight in _TARGET.findall(text) if weight != "0"}


def size_of(contents: Mapping[str, str], answers_max: int) -> Size:
    """Return how much these endpoints are, name to content text, in a zone of that `answers_max`."""
    weight = addresses = 0
    for text in contents.values():
        targets = usable(text)
        weight += sum(targets.values())
        addresses += served(targets, answers_max)
    return Size(len(contents), weight, addresses)


class Difference(NamedTuple):
    """What goes from some endpoints to others, and by how much they grow; `growth` may be below zero.

    `hollow`: names that were empty and come back. They were held meanwhile, so what they serve is another content;
    `was`: the weight and the addresses of that, once somebody has looked.
    """

    loss: Loss = NO_LOSS
    growth: Size = Size()
    hollow: tuple[str, ...] = ()
    was: Size = Size()

    def joined(self, other: "Difference") -> "Difference":
        """Return the difference of two parts of a plan together."""
        hollow = self.hollow + other.hollow
        return Difference(self.loss.joined(other.loss), self.growth.joined(other.growth), hollow)


def compare(before: Mapping[str, str], after: Mapping[str, str], answers_max: int) -> Difference:
    """Return how some endpoints differ from others, name to content text, in a zone of that `answers_max`."""
    removed = replaced = touched = weight = addresses = spared_weight = spared_addresses = 0
    more_weight = more_addresses = added = 0
    hollow: list[str] = []
    for name, text in before.items():
        content = after.get(name)
        if content == text:
            continue
        old = usable(text)
        new = {} if content is None else usable(content)
        less = sum(old.values()) - sum(new.values())
        fewer = served(old, answers_max) - served(new, answers_max)
        more_weight -= less
        more_addresses -= fewer
        less, fewer = max(0, less), max(0, fewer)
        weight += less
        addresses += fewer
        if content is None:
            removed += 1
            touched += 1
        elif not old:
            if new:
                hollow.append(name)
        elif not new:
            touched += 1
            spared_weight += less
            spared_addresses += fewer
        elif not old.keys() <= new.keys():
            touched += 1
            replaced += old.keys().isdisjoint(new)
    for name, text in after.items():
        if name not in before:
            new = usable(text)
            added += 1
            more_weight += sum(new.values())
            more_addresses += served(new, answers_max)
    loss = Loss(removed, replaced, touched, weight, addresses, spared_weight, spared_addresses)
    return Difference(loss, Size(added - removed, more_weight, more_addresses), tuple(hollow))
