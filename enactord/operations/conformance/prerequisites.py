"""Trials of prerequisites: each kind lets through what it should, and stops the rest whole."""

from collections.abc import Sequence

from enactord.core.names import wire_name
from enactord.operations.conformance.bench import NOERROR, NXDOMAIN, NXRRSET, YXDOMAIN, YXRRSET, Bench, rcode_text
from enactord.operations.conformance.verdict import Property, Tried, failed, passed, unknown
from enactord.wire.answer import TYPE_A, TYPE_AAAA, TYPE_CNAME, TYPE_TXT
from enactord.wire.plain_update import Record, absent, add, delete, exactly, exists, in_use, not_in_use, text

ONE, TWO = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
SIX = bytes.fromhex("20010db8000000000000000000000001")
_MARK = bytes((192, 0, 2, 99))
_RDATA = {TYPE_A: ONE, TYPE_AAAA: SIX, TYPE_TXT: text("here")}
ALIASES = ("alias", "alias-data")
"""Labels at which a CNAME may be written."""
_TYPES = {TYPE_A: "A", TYPE_AAAA: "AAAA", TYPE_TXT: "TXT", TYPE_CNAME: "CNAME"}


def _marks(label: str, count: int) -> tuple[str, ...]:
    """Return the labels of marks, one for each trial."""
    return tuple(f"{label}-{number}" for number in range(count))


class _Trials:
    """Updates that each put a mark at a fresh name; the first that does not end as it should is told."""

    def __init__(self, bench: Bench, mark: str) -> None:
        self._bench = bench
        self._mark = mark
        self._done = 0
        self.end: Tried | None = None
        """What the first said that did not end as it should."""

    async def ends(self, rcode: int, what: str, when: Sequence[Record]) -> None:
        """Send a mark under a requirement; it must be answered so, and stand there only if that is NOERROR."""
        if self.end is not None:
            return
        mark = self._bench.name(f"{self._mark}-{self._done}")
        reply = await self._bench.send([add(mark, TYPE_A, _MARK)], when=when)
        self._done += 1
        if reply.rcode is None:
            self.end = unknown(f"{what}: {reply.text}")
        elif reply.rcode != rcode:
            self.end = failed(f"{what}: answered {reply.text}, and should be {rcode_text(rcode)}")
        elif rcode != NOERROR and not await self._bench.has_settled():
            self.end = unknown(f"{what}: answered {reply.text}; a write after it is not read, so nothing shows its end")
        elif not await self._bench.reads(mark, TYPE_A, [_MARK] if rcode == NOERROR else []):
            held = "was not applied" if rcode == NOERROR else "was applied all the same"
            self.end = failed(f"{what}: answered {reply.text}, and the update {held}")

    def tried(self) -> Tried:
        return self.end or passed(f"{self._done} of {self._done} updates ended as they should")


async def _exact(bench: Bench) -> Tried:
    name = bench.name("exact")
    trials = _Trials(bench, "exact-mark")
    v1, v2 = text("v=1 gen=1"), text("v=1 gen=2")
    await bench.prepare(delete(name, TYPE_TXT), add(name, TYPE_TXT, v1))
    await trials.ends(NOERROR, "the TXT that stands there", exactly(name, TYPE_TXT, [v1]))
    await trials.ends(NXRRSET, "another TXT", exactly(name, TYPE_TXT, [v2]))
    await trials.ends(NXRRSET, "one TXT more", exactly(name, TYPE_TXT, [v1, v2]))
    await trials.ends(NXRRSET, "a TXT where none is", exactly(bench.name("exact-none"), TYPE_TXT, [v1]))
    await bench.prepare(add(name, TYPE_TXT, v2), delete(name, TYPE_A), add(name, TYPE_A, ONE), add(name, TYPE_A, TWO))
    await trials.ends(NXRRSET, "one TXT of two", exactly(name, TYPE_TXT, [v1]))
    await trials.ends(NOERROR, "two TXT of two", exactly(name, TYPE_TXT, [v1, v2]))
    await trials.ends(NXRRSET, "one A of two", exactly(name, TYPE_A, [ONE]))
    both = [*exactly(name, TYPE_A, [ONE, TWO]), *exactly(name, TYPE_TXT, [v1, v2])]
    await trials.ends(NOERROR, "both A and both TXT", both)
    await trials.ends(NXRRSET, "both A, and one TXT of two", [*both[:2], *exactly(name, TYPE_TXT, [v1])])
    return trials.tried()


async def _case(bench: Bench) -> Tried:
    name = bench.name("case")
    trials = _Trials(bench, "case-mark")
    await bench.prepare(delete(name, TYPE_TXT), add(name, TYPE_TXT, text("held=Ann: stop")))
    await trials.ends(NXRRSET, "a TXT with another capital", exactly(name, TYPE_TXT, [text("held=ann: stop")]))
    return trials.tried()


async def _absent(bench: Bench) -> Tried:
    trials = _Trials(bench, "absent-mark")
    for rtype, rdata in _RDATA.items():
        name, kind = bench.name("absent"), _TYPES[rtype]
        await bench.prepare(*(delete(name, each) for each in _RDATA), add(name, rtype, rdata))
        await trials.ends(YXRRSET, f"no {kind}, where one is", [absent(name, rtype)])
        others = [absent(name, each) for each in _RDATA if each != rtype]
        await trials.ends(NOERROR, f"no other types, where {kind} is", others)
        await trials.ends(YXRRSET, f"no types, where {kind} is", [*others, absent(name, rtype)])
        await trials.ends(NOERROR, f"no {kind}, where no name is", [absent(bench.name("absent-none"), rtype)])
    await trials.ends(NOERROR, "no CNAME, where A is", [absent(bench.name("absent"), TYPE_CNAME)])
    return trials.tried()


async def _exists(bench: Bench) -> Tried:
    name, none = bench.name("exists"), bench.name("exists-none")
    trials = _Trials(bench, "exists-mark")
    await bench.prepare(delete(name, TYPE_TXT), add(name, TYPE_TXT, text("here")))
    await trials.ends(NOERROR, "any TXT, where one is", [exists(name, TYPE_TXT)])
    await trials.ends(NXRRSET, "any A, where TXT is", [exists(name, TYPE_A)])
    await trials.ends(NXRRSET, "any TXT, where no name is", [exists(none, TYPE_TXT)])
    return trials.tried()


async def _in_use(bench: Bench) -> Tried:
    name, none = bench.name("used"), bench.name("used-none")
    trials = _Trials(bench, "used-mark")
    await bench.prepare(delete(name, TYPE_TXT), add(name, TYPE_TXT, text("here")))
    await trials.ends(NOERROR, "a name in use, that is", [in_use(name)])
    await trials.ends(NXDOMAIN, "a name in use, that is not", [in_use(none)])
    await trials.ends(YXDOMAIN, "a name not in use, that is", [not_in_use(name)])
    await trials.ends(NOERROR, "a name not in use, that is not", [not_in_use(none)])
    return trials.tried()


async def _wildcard(bench: Bench) -> Tried:
    star, name = bench.name("*.wild"), bench.name("own.wild")
    reply = await bench.send([delete(star, TYPE_A), add(star, TYPE_A, ONE)])
    if not reply.applied:
        return unknown(f"a wildcard could not be written: {reply.text}")
    trials = _Trials(bench, "wild-mark")
    await trials.ends(NOERROR, "no A at a name that a wildcard answers for", [absent(name, TYPE_A)])
    await trials.ends(NXRRSET, "the wildcard's A at such a name", exactly(name, TYPE_A, [ONE]))
    if trials.end is not None:
        return trials.end
    answers = await bench.reads(name, TYPE_A, [ONE])
    await bench.prepare(add(name, TYPE_A, TWO))
    if not await bench.reads(name, TYPE_A, [TWO]):
        return failed("a name's own A is not read where a wildcard is")
    return passed(f"prerequisites look past a wildcard; questions {'do not' if answers else 'do, too'}")


async def _cname(bench: Bench) -> Tried:
    alias, plain = bench.name("alias"), bench.name("alias-data")
    target = wire_name(bench.name("elsewhere"))
    reply = await bench.send([delete(alias, TYPE_CNAME), add(alias, TYPE_CNAME, target)])
    if not reply.applied:
        return unknown(f"the key may not write a CNAME ({reply.text}): permit the type to try it")
    bench.aliases.update(ALIASES)
    guarded = await bench.send([add(alias, TYPE_A, ONE)], when=[absent(alias, TYPE_CNAME)])
    if guarded.rcode is None:
        return unknown(f"an A that requires no CNAME, beside a CNAME: {guarded.text}")
    if guarded.rcode != YXRRSET:
        return failed(f"an A that requires no CNAME, beside a CNAME: {guarded.text}, and should be YXRRSET")
    beside = await bench.send([add(alias, TYPE_A, ONE), add(bench.name("alias-other"), TYPE_A, ONE)])
    await bench.prepare(delete(plain, TYPE_A), add(plain, TYPE_A, ONE))
    over = await bench.send([add(plain, TYPE_CNAME, target)])
    for name, rtype, what in ((alias, TYPE_A, "an A beside a CNAME"), (plain, TYPE_CNAME, "a CNAME beside an A")):
        holds = await bench.send([], when=[absent(name, rtype)])
        if holds.rcode is None:
            return unknown(f"{what}: whether it was taken is not told: {holds.text}")
        if holds.rcode != NOERROR:
            return failed(f"{what} was taken, and both stand there")
    ends = ("dropped in silence" if reply.rcode == NOERROR else f"refused ({reply.text})" for reply in (beside, over))
    return passed("an A beside a CNAME is {}, a CNAME beside an A is {}".format(*ends))


PROPERTIES = (
    Property(
        name="exact",
        title="an RRset must be exactly this",
        needed=True,
        meaning="An old plan can overwrite a newer one: this prerequisite is the fence.",
        labels=("exact", "exact-none", *_marks("exact-mark", 9)),
        attempt=_exact,
        rests_on=("acknowledged",),
    ),
    Property(
        name="case",
        title="texts are compared with their capitals",
        needed=False,
        meaning="Two holds of an operator that differ in capitals alone count as one; generations have no capitals.",
        labels=("case", *_marks("case-mark", 1)),
        attempt=_case,
        rests_on=("exact",),
    ),
    Property(
        name="absent",
        title="an RRset must not exist",
        needed=True,
        meaning="Names of others can be taken over, and the first fence of a zone protects nothing.",
        labels=("absent", "absent-none", *_marks("absent-mark", 13)),
        attempt=_absent,
        rests_on=("acknowledged",),
    ),
    Property(
        name="exists",
        title="an RRset must exist",
        needed=False,
        meaning="None for enactord, which does not use it; the server is not as RFC 2136 says.",
        labels=("exists", "exists-none", *_marks("exists-mark", 3)),
        attempt=_exists,
        rests_on=("acknowledged",),
    ),
    Property(
        name="in-use",
        title="a name must, or must not, be in use",
        needed=False,
        meaning="None for enactord, which does not use it; the server is not as RFC 2136 says.",
        labels=("used", "used-none", *_marks("used-mark", 4)),
        attempt=_in_use,
        rests_on=("acknowledged",),
    ),
    Property(
        name="wildcard",
        title="prerequisites look past wildcards",
        needed=False,
        meaning="Below a wildcard new names are refused, and held.",
        labels=("*.wild", "own.wild", *_marks("wild-mark", 2)),
        attempt=_wildcard,
        rests_on=("absent", "exact"),
    ),
    Property(
        name="cname",
        title="no address beside a CNAME",
        needed=False,
        meaning="A name can have a CNAME and addresses; what clients get is by chance.",
        labels=(*ALIASES, "alias-other"),
        attempt=_cname,
        rests_on=("absent",),
    ),
)
