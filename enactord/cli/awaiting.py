"""Waiting until a plan is served: by what the scope's status says, until it is, or cannot be, or time is up."""

import asyncio
import functools
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, cast

import click

from enactord.cli.program import NO, OK, UNREACHABLE, F
from enactord.cli.terminal import Bar, complain
from enactord.core.errors import Compacted, EnactordError, StoreDown
from enactord.daemon.documents import Document, status_document
from enactord.daemon.operations import Denied, Published, Scope
from enactord.registry.reports import WAIT_S

_LOOKS_APART_S = 0.2
_AGAIN_S = 1.0
_SERVED_S = 300.0


class Waited(Protocol):
    """What came of waiting; `code` is the exit code."""

    @property
    def code(self) -> int: ...

    def text(self) -> str: ...

    def document(self) -> Document: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a plan has come: zones that have applied it, names under way, held, and not seen served yet.

    `why`: what stands in its way, in words; "": nothing that is known.
    """

    zones: int
    zones_applied: int
    pending: int
    held: int
    unseen: int
    refused: bool
    why: str

    @property
    def applied(self) -> bool:
        """Whether no more is under way: all is applied and seen served, but for what is held."""
        return self.zones_applied == self.zones and not self.pending and not self.unseen

    @property
    def served(self) -> bool:
        return self.applied and not self.held

    @property
    def ended(self) -> bool:
        """Whether waiting longer brings nothing."""
        return self.refused or self.applied

    @property
    def code(self) -> int:
        return OK if self.served else NO

    def text(self) -> str:
        """Return it in words."""
        if self.served:
            return f"served: applied in {self.zones} of {self.zones} zones, and seen at every verify server"
        parts = [f"applied in {self.zones_applied} of {self.zones} zones"]
        parts += [f"{count} {what}" for count, what in self._counts() if count]
        return ", ".join(parts) + (f"; {self.why}" if self.why else "")

    def _counts(self) -> list[tuple[int, str]]:
        return [(self.pending, "pending"), (self.unseen, "not seen served yet"), (self.held, "held")]

    def document(self) -> Document:
        return {"served": self.served, "zones": self.zones, "zones_applied": self.zones_applied} | {
            "pending": self.pending,
            "held": self.held,
            "unseen": self.unseen,
            "refused": self.refused,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class NotKnown:
    """The plan is published, and the store could not be asked what came of it."""

    why: str
    code: int = UNREACHABLE

    def text(self) -> str:
        return f"whether it is served is not known: {self.why}"

    def document(self) -> Document:
        return {"served": None, "why": self.why}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a publication waits: for the fences that stand, in seconds, and then until it is served (0: not)."""

    confirm_s: float
    served_s: float

    async def wait(self, scope: Scope, done: Published | Denied, bar: Bar) -> Waited | None:
        """Wait until what was published is served; None where that is not asked for, or nothing was published."""
        if not self.served_s or isinstance(done, Denied) or done.dry_run:
            return None
        generation = done.manifest.generation
        try:
            return await await_served(scope, generation, bar, limit_s=self.served_s)
        except EnactordError as error:
            return NotKnown(str(error))
        except asyncio.CancelledError:
            complain(f"plan {generation} is published; see what becomes of it: enactorctl status")
            raise


def waiting(command: F) -> F:
    """Give a command the options by which publications wait, as its argument `patience`."""

    @functools.wraps(command)
    def patient(*arguments: Any, wait: bool, timeout_s: float, confirm_s: float, **options: Any) -> Any:
        patience = Patience(confirm_s=confirm_s, served_s=timeout_s if wait else 0.0)
        return command(*arguments, patience=patience, **options)

    for option in (
        click.option(
            "--confirm-within",
            "confirm_s",
            metavar="SECONDS",
            type=click.FloatRange(0, 600),
            default=WAIT_S,
            show_default=True,
            help="How long an enactor may take to report the fences that stand; then it is published as unconfirmed.",
        ),
        click.option(
            "--timeout",
            "timeout_s",
            metavar="SECONDS",
            type=click.FloatRange(0, 86_400, min_open=True),
            default=_SERVED_S,
            show_default=True,
            help="How long --wait waits.",
        ),
        click.option(
            "--wait",
            is_flag=True,
            help="Wait until it is served at every verify server; exit 1 if names are held, or time is up.",
        ),
    ):
        patient = option(patient)
    return cast(F, patient)


def standing_of(status: Document, generation: int) -> Standing:
    """Return how far a plan, or a later one, has come by a status document."""
    zones = [zone for zone in status["zones"] if zone["state"] != "not in this config"]
    applied = [zone for zone in zones if zone["applied"] >= generation]
    counts = {what: sum(zone["endpoints"][what] for zone in zones) for what in ("pending", "held", "unseen")}
    refused = generation in status["plans"]["refused"]
    return Standing(
        zones=len(zones),
        zones_applied=len(applied),
        refused=refused,
        why=_why(status, [zone for zone in zones if zone not in applied], refused=refused),
        **counts,
    )


def _why(status: Document, behind: list[Document], *, refused: bool) -> str:
    """Return what keeps a plan from being applied, as far as the status tells it."""
    if refused:
        return "enactors refuse the plan (see: enactorctl status; enactord's log says plan.refused)"
    if status["frozen"]:
        return f"the scope is frozen ({status['frozen']['mode']}) by {status['frozen']['author']}: enactorctl thaw"
    if not status["enactors"]:
        return "no enactor is alive: start one (enactord run)"
    ill = [zone["zone"] for zone in behind if zone["state"] == "not well"]
    return f"{ill[0]} cannot be worked on (see: enactorctl status)" if ill else ""


async def await_served(scope: Scope, generation: int, bar: Bar, *, limit_s: float) -> Standing:
    """Wait until a plan is served everywhere, or is known not to be; returns how far it came. Raises `StoreDown`."""
    standing: Standing | None = None
    lost: Exception = StoreDown("it does not answer")
    try:
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    async with aclosing(_statuses(scope)) as statuses:
                        async for status in statuses:
                            standing = standing_of(status, generation)
                            bar.stage(f"plan {generation}: {standing.text()}")
                            bar.advance(standing.zones_applied, standing.zones)
                            if standing.ended:
                                return standing
                except (StoreDown, Compacted) as error:
                    lost = error
                    bar.stage(f"plan {generation}: the plan store does not answer")
                    await asyncio.sleep(_AGAIN_S)
    except TimeoutError:
        pass
    if standing is None:
        raise lost
    return standing


async def _statuses(scope: Scope) -> AsyncGenerator[Document]:
    """Yield the scope's status, now and after changes. Raises `StoreDown`, `Compacted`."""
    mirror = await scope.mirror()
    following: asyncio.Task[Any] = asyncio.ensure_future(mirror.follow(scope.store))
    try:
        while not following.done():
            yield status_document(mirror, scope.zones, scope.clock.now())
            waiting = asyncio.ensure_future(mirror.wait_change(_AGAIN_S))
            await asyncio.wait((following, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            await asyncio.sleep(_LOOKS_APART_S)
        following.result()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
