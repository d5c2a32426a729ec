"""A refusal: the reasoned "no" of a guard, as a value."""

from dataclasses import dataclass
from typing import Any

FOREIGN, SERVER, COVERED = "foreign", "server", "covered"
ZONE_GUARDS = (FOREIGN, SERVER, COVERED)
"""What an endpoint is held by where the zone's answer to a write brought it about, rather than a judgement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Which guard said no, and the numbers it saw; `detail` also names what an operator can do."""

    guard: str
    detail: str

    def __str__(self) -> str:
        return f"{self.guard}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """Nothing was published, and why: every refusal that was found.

    `kept`: the digest under which a publication that guards refused is kept, so that an operator can approve it.
    """

    refusals: tuple[Refusal, ...]
    kept: str = ""

    def document(self) -> dict[str, Any]:
        refusals = [{"guard": refusal.guard, "detail": refusal.detail} for refusal in self.refusals]
        return {"refusals": refusals} | ({"kept": self.kept} if self.kept else {})
