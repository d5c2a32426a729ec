"""TTLs that a server keeps whatever is asked for, as one with a greatest TTL does (BIND: max-zone-ttl).

No answer says so: an update is acknowledged, and another TTL is served. A TTL that was put back in two
looks, and read back as before both times, is the server's own rule. It is told once, and is no drift from then on.
"""

from enactord.core.events import TtlKept, TtlTaken
from enactord.core.records import Records, Served
from enactord.ports import Observer

_LOOKS_APART_MAX = 1_000
"""Looks, at whatever zones, after which a name that was put back in vain is forgotten."""


class KeptTtls:
    """The rules of the servers of one enactor's zones, as they were found out."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._rules: dict[str, dict[int, int]] = {}
        """By zone: the TTL that was asked for, and the one that is kept."""
        self._tried: dict[tuple[str, int], tuple[int, int, str]] = {}
        """By zone and TTL asked for: what was kept, in which look that was seen, and at which name."""
        self._used: dict[str, set[int]] = {}
        """By zone: the TTLs asked for whose rule some name counted by in the look that goes on."""

    def rules(self, zone: str) -> dict[int, int]:
        """Return the TTLs that were asked for in a zone, in order, and the one that is kept in place of each."""
        return dict(sorted(self._rules.get(zone, {}).items()))

    def shows(self, zone: str, answer: Served, wanted: Records) -> bool:
        """Whether an answer is exactly what is wanted, but for a TTL that the server keeps by its rule."""
        if answer.shows(wanted):
            return True
        kept = self._rules.get(zone, {}).get(wanted.ttl_s)
        if kept is None or not answer.shows_but_for_ttl(wanted) or _ttl(answer) != kept:
            return False
        self._used.setdefault(zone, set()).add(wanted.ttl_s)
        return True

    def in_vain(self, zone: str, name: str, answer: Served, wanted: Records, look: int) -> None:
        """Enter that a TTL was put back in a look, and the answer shows another one as before."""
        kept = _ttl(answer)
        if kept is None or not answer.shows_but_for_ttl(wanted):
            return
        asked = wanted.ttl_s
        before = self._tried.get((zone, asked))
        if before is not None and before[2] != name and look - before[1] <= _LOOKS_APART_MAX:
            return  # one name tells for all: it is put back in another look, too
        self._tried[zone, asked] = (kept, look, name)
        if before is not None and before[0] == kept and before[2] == name and before[1] < look:
            self._rules.setdefault(zone, {})[asked] = kept
            self._used.setdefault(zone, set()).add(asked)
            self._observer.observe(TtlKept(zone=zone, name=name, asked_s=asked, kept_s=kept))

    def hopeless(self, zone: str, answer: Served, wanted: Records, look: int) -> bool:
        """Whether in this very look the same TTL was put back already, in vain."""
        tried = self._tried.get((zone, wanted.ttl_s))
        return tried is not None and tried[:2] == (_ttl(answer), look) and answer.shows_but_for_ttl(wanted)

    def end_look(self, zone: str) -> None:
        """A whole look has ended: a rule by which no name counted in it is forgotten."""
        rules = self._rules.get(zone, {})
        for asked in sorted(rules.keys() - self._used.pop(zone, set())):
            del rules[asked]
            self._tried.pop((zone, asked), None)
            self._observer.observe(TtlTaken(zone=zone, asked_s=asked))


def _ttl(answer: Served) -> int | None:
    """The one TTL that an answer has; None where it has several, or it is not known."""
    return answer.records.ttl_s if answer.ttl_known and answer.ttl_most_s is None else None
