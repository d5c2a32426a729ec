"""Every mechanism switched off, one at a time: the simulation must notice, within a stated number of seeds.

A mutant is a change of source text, made as the module is loaded, in a process of its own;
so it is exactly what it says, and one whose text is not found any more fails loudly.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import CodeType, ModuleType

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One replacement in a module's source; `old` stands there exactly once."""

    module: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A mechanism switched off.

    `seeds`: a seed that shows it, and at the same time the number of seeds within which it
    is stated to be caught. `covered`: why no seed needs to show it, where another
    mechanism covers it.
    """

    name: str
    what: str
    edits: tuple[Edit, ...]
    seed: int = -1
    covered: str = ""


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="fence",
        what="writes without the fence prerequisite",
        edits=(
            Edit(
                module="enactord.backends.memory",
                old="if tuple(sorted(transaction.fence_seen)) != self.fence:",
                new="if transaction.fence_after and tuple(sorted(transaction.fence_seen)) != self.fence:",
            ),
        ),
        seed=0,
    ),
    Mutant(
        name="open",
        what="the zone's own fence is not raised",
        edits=(
            Edit(
                module="enactord.engine.raise_fence",
                old="        opened = await self._raise(zone, record, word)\n",
                new="        opened = Raised(how=Raising.RAISED)\n",
            ),
        ),
        seed=5,
    ),
    Mutant(
        name="open-compare",
        what="an open does not look at what stands in the zone",
        edits=(
            Edit(
                module="enactord.engine.raise_fence",
                old="found.generation >= fence.generation:",
                new="found.generation >= 10**9:",
            ),
        ),
        seed=1,
    ),
    Mutant(
        name="judged-fence",
        what="an open does not compare the fence by which the plan was judged",
        edits=(
            Edit(
                module="enactord.store.fences",
                old="        if seen is None or seen.generation < fence.generation:\n",
                new="        seen = await self.read(zone)\n"
                "        if seen is None or seen.generation < fence.generation:\n",
            ),
        ),
    ),
    Mutant(
        name="own-open",
        what="diff without waiting until the watch shows one's own open",
        edits=(
            Edit(
                module="enactord.engine.open_zone",
                old="if not await cache.wait_until(partial(_shows, cache, permit), SHOWN_WITHIN_S, zone=zone):",
                new="if False:",
            ),
        ),
    ),
    Mutant(
        name="pending",
        what="no pending mark before a write",
        edits=(
            Edit(
                module="enactord.engine.slice",
                old="bucket[step.name] = with_pending(entry, version)",
                new="bucket.update({step.name: step.entry} if step.entry else {})",
            ),
            Edit(
                module="enactord.engine.outcome",
                old="    if entry.pending != write.version and not",
                new="    if False and not",
            ),
        ),
        seed=0,
    ),
    Mutant(
        name="claim",
        what="store transactions do not compare the claim",
        edits=(
            Edit(
                module="enactord.store.ledger",
                old="[self.claim.lives, fence_is",
                new="[fence_is",
            ),
            Edit(
                module="enactord.store.fences",
                old="conditions = (claim.lives, present(keys.plan(fence.generation)), not_frozen(keys), ",
                new="conditions = (present(keys.plan(fence.generation)), not_frozen(keys), ",
            ),
        ),
        seed=16,
    ),
    Mutant(
        name="ledger-fence",
        what="store transactions do not compare the fence",
        edits=(
            Edit(
                module="enactord.store.ledger",
                old="[self.claim.lives, fence_is(keys, self.zone, self.record)]",
                new="[self.claim.lives]",
            ),
        ),
    ),
    Mutant(
        name="ledger-revision",
        what="store transactions do not compare the buckets that were judged",
        edits=(
            Edit(
                module="enactord.store.ledger",
                old="compares = conditions + [unmodified(self._keys.ledger(b), read[b]) for b in order]",
                new="compares = conditions",
            ),
        ),
    ),
    Mutant(
        name="freeze",
        what="an open and a begin do not compare the freeze",
        edits=(
            Edit(
                module="enactord.store.ledger",
                old="[*permit.compares(self._keys), not_frozen(self._keys)]",
                new="permit.compares(self._keys)",
            ),
            Edit(
                module="enactord.store.fences",
                old="conditions = (claim.lives, present(keys.plan(fence.generation)), not_frozen(keys), ",
                new="conditions = (claim.lives, present(keys.plan(fence.generation)), ",
            ),
        ),
        seed=10,
    ),
    Mutant(
        name="prune-fence",
        what="prune does not ask whether every fence is above",
        edits=(
            Edit(module="enactord.core.retention", old="if fences[zone] <= generation:", new="if False:"),
            Edit(module="enactord.engine.prune", old="generation == evidence.head:", new="False:"),
        ),
        seed=0,
    ),
    Mutant(
        name="prune-active",
        what="prune does not ask what is applied and what the ledger refers to",
        edits=(
            Edit(module="enactord.core.retention", old="if applied[zone] == generation:", new="if False:"),
            Edit(module="enactord.core.retention", old="if generation in references:", new="if False:"),
        ),
        seed=0,
    ),
    Mutant(
        name="prune-claim",
        what="prune does not ask for claims",
        edits=(
            Edit(module="enactord.core.retention", old="    if claims:\n", new="    if False:\n"),
            Edit(
                module="enactord.store.plans",
                old="[*evidence, none_under(self._keys.claims(generation)), unmodified",
                new="[*evidence, unmodified",
            ),
        ),
        seed=1,
    ),
    Mutant(
        name="prune-again",
        what="the deleting transaction does not check the evidence again",
        edits=(
            Edit(
                module="enactord.store.plans",
                old="[*evidence, none_under(self._keys.claims(generation)), unmodified(key",
                new="[unmodified(key",
            ),
        ),
        seed=3,
    ),
    Mutant(
        name="sweep",
        what="chunks are swept by a list of plans older than the newest",
        edits=(Edit(module="enactord.store.plans", old="page.revision < head.mod_revision:", new="False:"),),
    ),
    Mutant(
        name="empty",
        what="an endpoint without usable targets is written",
        edits=(Edit(module="enactord.core.guards.targets", old="    if usable >= needed:\n", new="    if True:\n"),),
        seed=3,
    ),
    Mutant(
        name="removals",
        what="a plan may drop any number of names",
        edits=(
            Edit(
                module="enactord.core.guards.removals",
                old="    removed, total = weighing.loss.removed, weighing.before.endpoints\n",
                new="    removed, total = 0, weighing.before.endpoints\n",
            ),
        ),
        seed=0,
    ),
    Mutant(
        name="new-name",
        what="a new name is written whatever stands there",
        edits=(
            Edit(
                module="enactord.core.diff",
                old="expect=Expect.OWNED if owned else Expect.NEW,",
                new="expect=Expect.OWNED,",
            ),
        ),
        seed=0,
    ),
    Mutant(
        name="repair-value",
        what="repair does not require the value that it read",
        edits=(Edit(module="enactord.engine.repair", old="expect=Expect.EXACT", new="expect=Expect.OWNED"),),
    ),
    Mutant(
        name="repair-ledger",
        what="repair does not ask the store whether the ledger is as it knows it",
        edits=(
            Edit(
                module="enactord.engine.repair",
                old="            if not await self._ledger.unchanged(zone, record, buckets):\n",
                new="            if False:\n",
            ),
        ),
        seed=38,
    ),
    Mutant(
        name="repair-moved",
        what="repair does not mind what its cache learned while the names were read",
        edits=(
            Edit(
                module="enactord.engine.repair",
                old="!= record or any(index.revision(b) != read[b] for b in buckets)",
                new="== ''",
            ),
        ),
        seed=1,
    ),
    Mutant(
        name="repair-plan",
        what="repair puts back what the ledger has, whatever the plan at the fence says",
        edits=(
            Edit(
                module="enactord.engine.repair",
                old="wanted = desired.version(entry, answer)",
                new="wanted = entry.applied",
            ),
        ),
        seed=2,
    ),
    Mutant(
        name="prune-set-back",
        what="prune does not mind a store that was set back to a backup meanwhile",
        edits=(Edit(module="enactord.engine.prune", old="if last is not None:", new="if False:"),),
    ),
    Mutant(
        name="old-word",
        what="a fence is planted where none stands by what the store said long ago",
        edits=(
            Edit(
                module="enactord.engine.raise_fence",
                old="            if found is None and (alone or not word.counts(PLANT_WITHIN_S)):\n",
                new="            if False:\n",
            ),
        ),
    ),
    Mutant(
        name="blind-fence",
        what="an enactor without the store plants the fence that it knows where none stands",
        edits=(
            Edit(
                module="enactord.engine.raise_fence",
                old="if found is None or not in_step(record.txt.generation, found.generation, self.settings.limits):",
                new="if False:",
            ),
            Edit(
                module="enactord.engine.raise_fence",
                old="_Word(self._ports.clock), alone=True)",
                new="_Word(self._ports.clock))",
            ),
        ),
        seed=6,
    ),
    Mutant(
        name="blind-value",
        what="an enactor without the store writes over what is served under a fence that it does not know",
        edits=(
            Edit(
                module="enactord.engine.repair",
                old='if (basis.known or drift.kind == "emptied")',
                new="if True",
            ),
        ),
        seed=4,
    ),
    Mutant(
        name="reopen",
        what="a zone that lost its fence is not opened again by who looks at it",
        edits=(Edit(module="enactord.engine.basis", old="if seen != record.txt.seen and writable:", new="if False:"),),
        seed=0,
    ),
    Mutant(
        name="read-after-unknown",
        what="after an unknown answer the write is sent again unread",
        edits=(
            Edit(
                module="enactord.engine.write",
                old="Unknown(detail=detail, answered=answered):\n"
                "                    fates |= await self._read_back(fence, left)\n",
                new="Unknown(detail=detail, answered=answered):\n",
            ),
            Edit(
                module="enactord.engine.write",
                old="            self._unknown[change.name] = None",
                new="            pass",
            ),
        ),
        seed=0,
    ),
    Mutant(
        name="stray-claims",
        what="claims that nobody knows of are left",
        edits=(
            Edit(
                module="enactord.engine.follow",
                old="                await self._session.release_all_but("
                "self._claims.generations, self._cache.all_claims)\n",
                new="",
            ),
        ),
        seed=1,
    ),
    Mutant(
        name="since",
        what="a bucket written since the applied plan is not looked at",
        edits=(
            Edit(
                module="enactord.engine.planning",
                old="if not same or lost or revision > since or not",
                new="if not same or lost or not",
            ),
        ),
        seed=33,
    ),
    Mutant(
        name="earlier",
        what="of writes without a known end only the last is remembered",
        edits=(
            Edit(
                module="enactord.core.ledger",
                old="    versions = [*entry.earlier, *(",
                new="    versions = [*(",
            ),
        ),
        seed=27,
    ),
    Mutant(
        name="refused",
        what="what the zone refused one enactor is forgotten, though another may be writing it",
        edits=(
            Edit(
                module="enactord.core.ledger",
                old="held=hold, earlier=(version,))",
                new="held=hold)",
            ),
            Edit(
                module="enactord.engine.outcome",
                old="    if entry.pending != write.version and not _late(",
                new="    if entry.pending != write.version or False and _late(",
            ),
        ),
        seed=7,
    ),
    Mutant(
        name="keep-applied",
        what="a plan that changes nothing in a zone keeps its TXT, though the plan before was not applied there",
        edits=(
            Edit(
                module="enactord.store.fences",
                old="                valued(keys.applied(zone), applied_value(record.generation, record.plan)),\n",
                new="",
            ),
            Edit(
                module="enactord.engine.planning",
                old="if plan is None or cache.applied(zone) != record.generation or",
                new="if plan is None or",
            ),
            Edit(
                module="enactord.engine.planning",
                old="        if not totals.settled or totals.entries != part.endpoints or",
                new="        if",
            ),
            Edit(
                module="enactord.engine.planning",
                old="            conforms(view.wanted(bucket), cache.ledger.bucket(bucket)) for bucket in suspects",
                new="            True for bucket in suspects",
            ),
        ),
        seed=0,
    ),
    Mutant(
        name="slots",
        what="the slots of a ledger are not brought to those of the plan before it is written",
        edits=(
            Edit(
                module="enactord.engine.open_zone",
                old="if permit.record.slots != slots or not cache.ledger.levels(zone) <= {slots, OTHER_FORMAT}:",
                new="if False:",
            ),
            Edit(
                module="enactord.store.ledger_index",
                old="return NOT_STORED_SO if self._overlapping(zone, bucket) else 0",
                new="return 0",
            ),
        ),
        seed=0,
    ),
    Mutant(
        name="probe",
        what="a refusal that a name may have brought about is taken for one of the key",
        edits=(
            Edit(
                module="enactord.engine.write",
                old='            case Ground.FINE:\n                return ""\n',
                new='            case Ground.FINE:\n                raise ZoneDenied(f"{self.name}: denied")\n',
            ),
        ),
        seed=11,
    ),
    Mutant(
        name="narrow",
        what="a refused batch is held whole",
        edits=(
            Edit(
                module="enactord.engine.write",
                old="        if len(batch) == 1:\n            return {batch[0]",
                new="        if len(batch) > 1:\n            return {change.name: refused for change in batch}\n"
                "        if len(batch) == 1:\n            return {batch[0]",
            ),
        ),
    ),
    Mutant(
        name="wildcard",
        what="a wildcard's answer is taken for a name's own records",
        edits=(
            Edit(
                module="enactord.engine.probing",
                old="            if any(answers.get(star) == served[name] for star in some)\n",
                new="            if False\n",
            ),
        ),
        seed=11,
    ),
    Mutant(
        name="repair-pending",
        what="repair passes over names with a write under way",
        edits=(
            Edit(
                module="enactord.engine.repair",
                old="        versions = entry.may_serve if self._store_up() else (entry.applied,)\n",
                new="        if entry.pending is not None and self._store_up():\n            return False\n"
                "        versions = entry.may_serve if self._store_up() else (entry.applied,)\n",
            ),
        ),
    ),
    Mutant(
        name="names-apart",
        what="all names of a batch that the server refuses are held, not only the refused one",
        edits=(
            Edit(
                module="enactord.engine.write",
                old="if len(batch) == 1:\n            return {batch[0].name: await self._alone(fence, batch[0], refused)}",  # noqa: E501
                new="if batch:\n            return {one.name: await self._alone(fence, one, refused) for one in batch}",
            ),
        ),
        seed=12,
    ),
    Mutant(
        name="zones-apart",
        what="zones wait for one another: for one whose server does not answer, too",
        edits=(
            Edit(module="enactord.engine.enactor", old="_ZONES_AT_ONCE = 16", new="_ZONES_AT_ONCE = 1"),
            Edit(module="enactord.engine.enactor", old="\n_PATIENCE_S = 1.0", new="\n_PATIENCE_S = 1e9"),
        ),
        seed=32,
    ),
    Mutant(
        name="chunk-believed",
        what="a publication counts on a stored chunk without reading it",
        edits=(
            Edit(
                module="enactord.store.plans",
                old="        await put_chunks("
                "self._store, keys, {chunk: texts[chunk] for chunk in texts if chunk not in sound})\n",
                new="        there = await self._store.get([keys.chunk(chunk) for chunk in texts])\n"
                "        await put_chunks("
                "self._store, keys, {c: texts[c] for c in texts if keys.chunk(c) not in there})\n",
            ),
        ),
        seed=15,
    ),
    Mutant(
        name="step",
        what="a fence out of all reach is followed",
        edits=(
            Edit(
                module="enactord.core.guards.step",
                old="    return generation <= newest + limits[STEP_MAX]\n",
                new="    return True\n",
            ),
        ),
        seed=36,
    ),
    Mutant(
        name="look-first",
        what="names that others hold are tried again without a look",
        edits=(
            Edit(
                module="enactord.engine.obstacles",
                old="    return hold.guard == FOREIGN and step.kind is Kind.WRITE and step.expect is Expect.NEW\n",
                new="    return False\n",
            ),
            Edit(module="enactord.engine.passes", old="(self.again or not self._refused_before(step))", new="True"),
        ),
        covered="an economy: a pass that left nothing to do is not begun again before the next repair interval",
    ),
)


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module with its source changed."""

    edits: Sequence[Edit] = ()

    def source_to_code(self, data: object, path: str, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        assert isinstance(data, bytes)
        text = data.decode("utf-8")
        for edit in self.edits:
            assert text.count(edit.old) == 1, f"{edit.module}: {text.count(edit.old)} times {edit.old!r}"
            text = text.replace(edit.old, edit.new)
        return compile(text, path, "exec", dont_inherit=True, optimize=_optimize)

    def get_code(self, fullname: str) -> CodeType | None:
        return self.source_to_code(self.get_data(self.path), self.path)  # never from the cache


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, edits: Sequence[Edit]) -> None:
        self._edits = edits

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        edits = [edit for edit in self._edits if edit.module == name]
        if not edits:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None
        assert spec.origin is not None
        loader = _Loader(name, spec.origin)
        loader.edits = edits
        return importlib.util.spec_from_file_location(name, spec.origin, loader=loader)


def find(name: str) -> Mutant:
    """Return a mutant by its name."""
    return next(mutant for mutant in MUTANTS if mutant.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """How a mutant fared: the first seed that shows it (None: none did) and its first violation."""

    mutant: Mutant
    seed: int | None
    violation: str


def run_mutant(mutant: Mutant, *, first: int, seeds: int) -> Caught:
    """Run seeds with a mutant, in a process of its own, until one shows it."""
    command = [sys.executable, "-m", "tests.simulation.mutants", mutant.name, str(first), str(seeds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seed, _, violation = done.stdout.strip().partition(" ")
    return Caught(mutant=mutant, seed=None if seed == "none" else int(seed), violation=violation)


def print_table(out: Console, *, seeds: int, first: int, jobs: int, only: str) -> int:
    """Print mechanism, seeds needed, and what was violated; returns 1 if one that should be caught was not."""
    chosen = [mutant for mutant in MUTANTS if only in ("", mutant.name)]
    table = Table("mechanism switched off", "seeds needed", "first violation", box=None)
    missed = 0
    with ThreadPoolExecutor(jobs) as pool:
        for caught in pool.map(lambda mutant: run_mutant(mutant, first=first, seeds=seeds), chosen):
            needed = f"none of {seeds}" if caught.seed is None else str(caught.seed - first + 1)
            missed += caught.seed is None and not caught.mutant.covered
            table.add_row(
                f"{caught.mutant.name}: {caught.mutant.what}", needed, caught.violation or caught.mutant.covered
            )
            out.print(f"{caught.mutant.name}: {needed} {caught.violation}", soft_wrap=True)
    out.print(table)
    return 1 if missed else 0


def _main(name: str, first: int, seeds: int) -> None:
    sys.meta_path.insert(0, _Finder(find(name).edits))
    from tests.simulation.scenario import simulate

    for seed in range(first, first + seeds):
        try:
            outcome = simulate(seed)
        except AssertionError as error:
            print(seed, f"assertion: {error}")
            return
        if outcome.violations:
            print(seed, outcome.violations[0])
            return
    print("none")


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
