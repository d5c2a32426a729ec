"""Waiting until a plan is served: by what the scope's status says, until it is, or cannot be, or time is up."""

import asyncio
import functools
import os
import signal
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from enactord.cli.program import NO, OK, UNREACHABLE, F, enactor_url
from enactord.cli.terminal import Bar, complain
from enactord.core.errors import Compacted, EnactordError, StoreDown
from enactord.operations.acts import Denied, Scope
from enactord.operations.documents import Document, status_document
from enactord.store.reports import WAIT_S

if TYPE_CHECKING:
    from enactord.cli.remote import Remote

_LOOKS_APART_S = 0.2
_AGAIN_S = 1.0
_SERVED_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a plan has come: zones that have applied it, names under way, held, and not seen served yet.

    `superseded_by`: the newest plan, where that is a later one: it counts in place of this; 0: it is this one.
    `why`: what stands in its way, in words; "": nothing that is known.
    """

    zones: int
    zones_applied: int
    pending: int
    held: int
    unseen: int
    refused: bool
    superseded_by: int
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
            later = f"; plan {self.superseded_by} came after it, and is what is served" if self.superseded_by else ""
            return f"served: applied in {self.zones} of {self.zones} zones, and seen at every verify server{later}"
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
            "superseded_by": self.superseded_by or None,
            "why": self.why,
            "text": self.text(),
            "code": self.code,
        }


def not_known(why: str) -> Document:
    """Return what is told where the plan is published, and nobody could be asked what came of it."""
    return {"served": None, "why": why, "text": f"whether it is served is not known: {why}", "code": UNREACHABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a publication waits: for the fences that stand, in seconds, and then until it is served (0: not)."""

    confirm_s: float
    served_s: float

    async def by_store(self, scope: Scope, done: Document | Denied, bar: Bar) -> Document | Denied:
        """Wait until what was published is served; returns its document, with what came of that."""
        if isinstance(done, Denied) or not self._waits(done):
            return done
        with _interrupted(done):
            try:
                waited = (await await_served(scope, done["generation"], bar, limit_s=self.served_s)).document()
            except EnactordError as error:
                waited = not_known(str(error))
        return done | {"waited": waited}

    def over_http(self, enactor: "Remote", done: Document, bar: Bar) -> Document:
        """Do the same by what an enactor says over HTTP."""
        if not self._waits(done):
            return done
        with _interrupted(done):
            waited = _await_enactor(enactor, done["generation"], bar, limit_s=self.served_s)
        return done | {"waited": waited}

    def _waits(self, done: Document) -> bool:
        return self.served_s > 0 and not done["dry_run"]


@contextmanager
def _interrupted(done: Document) -> Iterator[None]:
    """Where somebody ends the waiting, say that the plan is published all the same."""
    published = f"plan {done['generation']} is published; see what becomes of it: enactorctl status"

    def told_to_end(number: int, frame: FrameType | None) -> None:
        complain(published)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, told_to_end) if here else None
    try:
        yield
    except (asyncio.CancelledError, KeyboardInterrupt):
        complain(published)
        raise
    finally:
        if here:
            signal.signal(signal.SIGTERM, before)


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
            callback=_confirm_s,
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


def _confirm_s(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """Return how long to wait; an enactor that is asked over HTTP knows that by itself."""
    assert parameter.name is not None
    if context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE and enactor_url():
        raise click.BadParameter("an enactor that publishes over HTTP waits by its own limits; leave it out")
    return value


def standing_of(status: Document, generation: int) -> Standing:
    """Return how far a plan, or a later one, has come by a status document."""
    zones = [zone for zone in status["zones"] if zone["state"] != "not in this config"]
    applied = [zone for zone in zones if zone["applied"] >= generation]
    counts = {what: sum(zone["endpoints"][what] for zone in zones) for what in ("pending", "held", "unseen")}
    refused = generation in status["plans"].get("refused", ())
    return Standing(
        zones=len(zones),
        zones_applied=len(applied),
        refused=refused,
        superseded_by=status["head"] if status["head"] > generation else 0,
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


def _await_enactor(enactor: "Remote", generation: int, bar: Bar, *, limit_s: float) -> Document:
    """Return how far a plan came within a time, as an enactor tells it."""
    found = not_known("the enactor does not answer")
    until = time.monotonic() + limit_s
    while True:
        try:
            standing = standing_of(enactor.get("status"), generation)
        except EnactordError as error:
            found = found if found["served"] is not None else not_known(str(error))
            bar.stage(f"plan {generation}: {error}")
        else:
            found = standing.document()
            bar.stage(f"plan {generation}: {standing.text()}")
            bar.advance(standing.zones_applied, standing.zones)
            if standing.ended:
                return found
        if time.monotonic() > until:
            return found
        time.sleep(min(_AGAIN_S, max(0.0, until - time.monotonic()) + _LOOKS_APART_S))


async def _statuses(scope: Scope) -> AsyncGenerator[Document]:
    """Yield the scope's status, now and after changes. Raises `StoreDown`, `Compacted`."""
    cache = await scope.cache()
    following: asyncio.Task[Any] = asyncio.ensure_future(cache.follow(scope.store))
    try:
        while not following.done():
            yield status_document(cache, scope.zones, scope.clock.now())
            waiting = asyncio.ensure_future(cache.wait_change(_AGAIN_S))
            await asyncio.wait((following, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            await asyncio.sleep(_LOOKS_APART_S)
        following.result()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
