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
    """Nothing was stored, and why: every refusal that was found."""

    refusals: tuple[Refusal, ...]

    def document(self) -> dict[str, Any]:
        return {"refusals": [{"guard": refusal.guard, "detail": refusal.detail} for refusal in self.refusals]}
