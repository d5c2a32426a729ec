"""Witnesses: the servers that a look asks besides the zone's own, and what they show otherwise.

A content is the last known good only where every verify server shows it. One that is behind keeps
it from becoming so, one that has not answered for long is left out; one at least must have answered.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from enactord.core.errors import ZoneDown
from enactord.core.ledger import Version
from enactord.core.records import Records, Served
from enactord.engine.evidence import NAMES_KEPT_MAX, Otherwise
from enactord.engine.health import Health
from enactord.engine.settings import ZonePorts
from enactord.ports import ServedReader, Verifier

_PATIENCE_S = 2.0
"""How long a portion of names waits for the other servers once the zone's own has answered: repair comes first."""
_NO_ANSWER = "no answer"

Answers = Mapping[str, Mapping[str, Served]]
"""By server, what it serves by name."""


class Witnesses:
    """The verify servers of one zone, in one look."""

    def __init__(self, ports: ZonePorts, health: Health, shows: Callable[[Served, Records], bool]) -> None:
        """`shows`: whether an answer counts as some records."""
        self._zone = ports.settings.name
        self._health = health
        self._shows = shows
        self._others = ports.other_verifiers
        self._asked = [one for one in self._others if health.evidence.ask_again(self._zone, one.server)]
        """Those that are asked: one that is away only now and then, as each look would wait for it."""
        self._own = bool(ports.own_verifiers)
        """Whether the zone's own server is a verify server, too."""
        self._left_out = health.evidence.left_out(self._zone)
        self._heard: set[str] = set()
        self._silent = {one.server for one in self._others} - {one.server for one in self._asked}
        self._behind: defaultdict[str, dict[str, Otherwise]] = defaultdict(dict)
        self.late = 0
        """Names that are not the last known good yet, as some server does not show them."""

    @property
    def unsettled(self) -> bool:
        """Whether some server has not shown what the zone's own does: one that has been away for long is none."""
        return bool(self.late or self._behind or self._silent - self._left_out)

    @property
    def behind(self) -> Mapping[str, Mapping[str, Otherwise]]:
        """By server: names that it serves otherwise than the zone's own server."""
        return self._behind

    async def read(
        self, own: ServedReader, names: Sequence[str], *, alone: bool = False
    ) -> tuple[Mapping[str, Served], Answers]:
        """Ask the zone's own server for names and, unless `alone`, each of the others at the same time.

        Of the others, who does not answer is asked no more in this look. Raises `ZoneDown` where the own server
        does not.
        """
        asked = [] if alone else [verifier for verifier in self._asked if verifier.server not in self._silent]
        if not asked:
            return await own.read(names), {}
        others = [asyncio.create_task(self._ask(verifier, names)) for verifier in asked]
        try:
            answers = await own.read(names)
            done, late = await asyncio.wait(others, timeout=_PATIENCE_S)
        finally:
            for task in others:
                task.cancel()
        for verifier, task in zip(asked, others, strict=True):
            if task in late:
                self._is_silent(verifier.server, f"no answer within {_PATIENCE_S:g} s of the zone's own server")
        found = [task.result() for task in others if task in done]
        return answers, {server: answered for server, answered in found if answered is not None}

    async def _ask(self, verifier: Verifier, names: Sequence[str]) -> tuple[str, Mapping[str, Served] | None]:
        server = verifier.server
        try:
            answers = await verifier.bulk.read(names)
        except ZoneDown as error:
            self._is_silent(server, str(error))
            return server, None
        self._heard.add(server)
        return server, answers

    def _is_silent(self, server: str, problem: str) -> None:
        self._silent.add(server)
        self._health.server_is_silent(self._zone, server, problem)

    def end(self) -> None:
        """The look has ended: who has answered all along answers."""
        for server in sorted(self._heard - self._silent):
            self._health.server_answers(self._zone, server)

    def lagging(self, name: str, version: Version, answers: Answers) -> dict[str, Otherwise]:
        """Return the servers that serve a name otherwise than this version, which the zone's own server shows."""
        wanted = version.records(name)
        found = {}
        for server, answered in answers.items():
            if name not in answered:
                found[server] = Otherwise(served=(_NO_ANSWER,), wanted=wanted.texts(), generation=version.generation)
            elif not self._shows(answered[name], wanted):
                served, due = answered[name].unlike(wanted)
                found[server] = Otherwise(served=served, wanted=due, generation=version.generation)
        return found

    def note(self, name: str, lagging: Mapping[str, Otherwise]) -> None:
        """Enter who serves a name otherwise."""
        for server, other in lagging.items():
            if len(self._behind[server]) < NAMES_KEPT_MAX:
                self._behind[server][name] = other

    def all_show(self, name: str, answers: Answers, lagging: Mapping[str, Otherwise]) -> bool:
        """Whether each that counts shows a name as the zone's own server does, and one of them has answered."""
        awaited = [verifier.server for verifier in self._others if verifier.server not in self._left_out]
        if lagging or any(name not in answers.get(server, {}) for server in awaited):
            return False
        return self._own or any(name in answered for answered in answers.values())
