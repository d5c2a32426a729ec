"""A plan: the document that a planner sends, and the manifest and chunks that it is stored as.

A chunk is the text of one bucket: a line "name TAB content" an endpoint, sorted by
name. Chunks are found by their digest and shared by all plans that hold the same.
The manifest lists them by zone and slot.
"""

import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from enactord.core.buckets import FILLING, SLOTS_MAX, BucketId, Filling, bucket_of, slots_for, split_names
from enactord.core.content import (
    ID_LENGTH_MAX,
    TARGETS_MAX,
    WEIGHT_MAX,
    Content,
    Target,
    content_text,
    pack_address,
    unpack_address,
)
from enactord.core.errors import InvalidName, InvalidPlan, PlanUnreadable
from enactord.core.measures import Loss, Size
from enactord.core.names import FENCE_LABEL, parse_name, zone_of
from enactord.core.render import ANSWERS_MAX
from enactord.core.visible import visible

SCHEMA = "enactord.plan/v1"
PLAN_BYTES_MAX = 48_000_000
"""Largest plan document; beyond, publish changes with `base`. 100,000 endpoints of 8 addresses are 38 MB."""
PLAN_VALUES_MAX = PLAN_BYTES_MAX // 8
"""Most values in a document, counted as commas and brackets: a target takes 28 bytes and is three of them. A
document of as many bytes could hold millions of empty lists, and take 30 times its size when decoded."""
CHUNK_BYTES_MAX = 512 * 1024
"""Largest stored (compressed) chunk: etcd's request limit is 1.5 MiB. Source: etcd --max-request-bytes."""
CHUNK_TEXT_MAX = 16 * 1024 * 1024
"""Largest chunk after decompression: a bound on what a damaged store can make a reader allocate."""
CHUNK_TEXT_WANTED_MAX = 128 * 1024
"""A zone gets more slots while a chunk of several of its names has a longer text."""
_SLOTS_A_NAME = 4
"""Slots that a zone gets for that at most, for each of its names: two large names may lie together by bad luck."""
GENERATION_MAX = 10**18
"""Generations stay below this, so that 20 digits always hold one and every language can count them."""
MAX_PROBLEMS = 20
_PROBLEMS_SHOWN = 3
_SHOWN_MAX = 60
"""Of one endpoint that is malformed, in the reason for which it is held."""
PROBLEM_LENGTH_MAX = 400
"""Longest text of one problem: what is wrong may be a value of megabytes, which nobody wants to read back."""
TTL_MAX_S = 2**31 - 1  # Source: RFC 2181 section 8.

_TOP_KEYS = frozenset({"schema", "scope", "generation", "created_at", "author", "endpoints", "base", "digest"})
_ENDPOINT_KEYS = frozenset({"ttl_s", "targets", "withdraw"})
_TARGET_KEYS = frozenset({"address", "weight", "id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A plan document that has been read and is in good form; it has no place in the store yet.

    `endpoints` maps each name to its canonical content text; `digest` is what the
    planner says the plan's digest is ("" if it does not say).
    """

    scope: str
    generation: int | None
    base: int | None
    created_at: str
    author: str
    digest: str
    endpoints: Mapping[str, str]
    withdrawn: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An operator's word that one exact plan may pass the guards that weigh change."""

    of: int
    author: str
    reason: str
    digest: str = ""
    """That of the refused publication which is approved; "": it is another plan."""
    names: tuple[str, ...] = ()
    """The endpoints whose change it covers; none: of the whole plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePart:
    """What a plan holds of one zone: how much that is, in how many slots, and each slot's chunk by digest."""

    slots: int = 1
    endpoints: int = 0
    chunks: Mapping[int, str] = field(default_factory=dict)
    """Digest by slot, in order; a slot without names has none."""
    weight: int = 0
    addresses: int = 0
    """Of all its endpoints together, as `measures.size_of` counts them."""
    answers_max: int = ANSWERS_MAX
    """That of the zone, by which addresses were counted."""

    @property
    def size(self) -> Size:
        return Size(self.endpoints, self.weight, self.addresses)

    def chunk(self, bucket: BucketId) -> str | None:
        """Return the digest of a bucket's chunk, None where the plan holds no name there."""
        assert bucket.slots == self.slots, (bucket, self.slots)
        return self.chunks.get(bucket.slot)


NO_PART = ZonePart()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A published plan: its generation, digest, counts, and what it holds of each zone."""

    generation: int
    digest: str
    scope: str
    endpoints: int
    author: str
    reason: str
    created_at: str
    published_at: float
    zones: Mapping[str, ZonePart]
    approval: Approval | None = None
    rollback_of: int = 0
    since: int = 0
    """The plan that was the newest before it; 0: there was none, or none that could be read."""
    content_author: str = ""
    """Whose the content is, where the author has but begun or ended an override of it."""
    planned: Mapping[str, str] = field(default_factory=dict)
    """Of names that are overridden, what the planner wants: a content text, or "" where it does not want the name."""
    losses: Mapping[str, Loss] = field(default_factory=dict)
    """What goes from that plan to this one, by zone; a zone that loses nothing has none."""

    @property
    def ordered(self) -> bool:
        """Whether an operator answers for the content, by approval or rollback: then guards do not weigh change."""
        return self.approval is not None or self.rollback_of > 0

    @property
    def begins_anew(self) -> bool:
        """Whether guards forget what went before: by an operator's order, but for one of single endpoints."""
        return self.ordered and not (self.approval and self.approval.names and not self.approval.digest)

    @property
    def approved(self) -> bool | frozenset[str]:
        """Whether guards of endpoints that weigh change let this plan's pass, or those that do."""
        names = self.approval.names if self.approval and not self.rollback_of else ()
        return frozenset(names) if names else self.ordered

    @property
    def mark(self) -> str:
        """The part of the digest that the fence carries."""
        return self.digest[:16]

    def part(self, zone: str) -> ZonePart:
        """What the plan holds of a zone; nothing where it has no name there."""
        return self.zones.get(zone, NO_PART)

    def bucket(self, name: str) -> BucketId | None:
        """Return the bucket that a name would lie in; None for a name of a zone of which the plan has no name."""
        zone = zone_of(name, self.zones)
        return None if zone is None else bucket_of(name, zone, self.zones[zone].slots)

    def chunk_of(self, name: str) -> str | None:
        """Return the digest of the chunk that holds the name if the plan does; None where no chunk can."""
        bucket = self.bucket(name)
        return None if bucket is None else self.zones[bucket.zone].chunk(bucket)

    def digests(self) -> Iterator[str]:
        """Yield the digest of every chunk, in order of zone and slot."""
        for zone in sorted(self.zones):
            yield from self.zones[zone].chunks.values()


class _Problems:
    """Collects what is wrong with a document, up to a limit."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        self.found.append(problem if len(problem) <= PROBLEM_LENGTH_MAX else problem[:PROBLEM_LENGTH_MAX] + "…")
        if len(self.found) >= MAX_PROBLEMS:
            raise InvalidPlan((*self.found, "and perhaps more"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, refusing a key that is there twice: json alone would keep the last in silence."""
    built = dict(pairs)
    if len(built) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidPlan((f"duplicate: {key[:PROBLEM_LENGTH_MAX]!r} is there twice; remove one of the two",))
            seen.add(key)
    return built


def _no_constant(text: str) -> Any:
    raise InvalidPlan((f"{text} is no JSON number",))


def parse_plan(document: bytes, *, bytes_max: int = PLAN_BYTES_MAX) -> Draft:
    """Read a plan document (JSON, UTF-8). Raises `InvalidPlan` with every problem found."""
    if len(document) > bytes_max:
        raise InvalidPlan(
            (f"size: {len(document):,} bytes, at most {bytes_max:,}; publish the changes alone with 'base'",)
        )
    values = document.count(b",") + document.count(b"{") + document.count(b"[")
    if values > PLAN_VALUES_MAX:
        raise InvalidPlan((f"size: {values:,} values, at most {PLAN_VALUES_MAX:,}",))
    try:
        plan = json.loads(document.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidPlan(
            (f"not UTF-8: byte {error.start} is no part of a character; save the file as UTF-8",)
        ) from error
    except RecursionError as error:
        raise InvalidPlan(("nested too deeply",)) from error
    except ValueError as error:
        said = str(error) if isinstance(error, json.JSONDecodeError) else "a number has too many digits"
        raise InvalidPlan((f"not JSON: {said}; a plan is one JSON object, and YAML is not read",)) from error
    if not isinstance(plan, dict):
        raise InvalidPlan(("not a JSON object",))
    return read_plan(plan)


def read_plan(plan: Mapping[str, Any]) -> Draft:
    """Check a decoded plan document and return it as a draft. Raises `InvalidPlan`.

    An endpoint that is malformed is part of the draft, to be held; unless all are.
    """
    problems = _Problems()
    if plan.get("schema") != SCHEMA:
        said = f"is {_json(plan['schema'])}" if "schema" in plan else "is missing"
        problems.add(f'schema: {said}; it must be "{SCHEMA}"')
    for key in plan:
        if key not in _TOP_KEYS:
            problems.add(f"{key}: unknown key (known: {', '.join(sorted(_TOP_KEYS))})")
    scope = _text(plan, "scope", problems, required=True)
    created_at = _text(plan, "created_at", problems)
    if created_at:
        try:
            datetime.fromisoformat(created_at)
        except ValueError:
            problems.add(f"created_at: {created_at!r} is no ISO 8601 time")
    draft = Draft(
        scope=scope,
        generation=_generation(plan, "generation", problems),
        base=_generation(plan, "base", problems),
        created_at=created_at,
        author=_text(plan, "author", problems),
        digest=_text(plan, "digest", problems),
        endpoints={},
        withdrawn=(),
    )
    given = plan.get("endpoints")
    if not isinstance(given, dict):
        problems.add("endpoints: must be an object of name: endpoint")
        raise InvalidPlan(tuple(problems.found))
    endpoints, withdrawn = _endpoints(given, problems)
    if problems.found:
        raise InvalidPlan(tuple(problems.found))
    return replace(draft, endpoints=endpoints, withdrawn=tuple(sorted(withdrawn)))


def _endpoints(given: Mapping[str, Any], problems: _Problems) -> tuple[dict[str, str], Collection[str]]:
    """Return name to content text, and the names that are withdrawn; what is wrong with names is added to the problems.

    An endpoint that is malformed is held while the others are applied. Where all are, the document is of another kind.
    """
    endpoints: dict[str, str] = {}
    withdrawn: dict[str, None] = {}
    malformed: dict[str, list[str]] = {}
    for text, endpoint in given.items():
        try:
            name = parse_name(text)
        except InvalidName as error:
            problems.add(f"endpoints: {error}")
            continue
        if name in endpoints or name in withdrawn:
            spelt = "" if text == name else f" (as {text!r}, too)"
            problems.add(f"endpoints: duplicate: {name!r} is there twice{spelt}")
        elif name.startswith(FENCE_LABEL + "."):
            problems.add(f"endpoints: {name!r}: the label {FENCE_LABEL!r} is kept for the fence")
        else:
            content, wrong = _endpoint(endpoint)
            if wrong:
                malformed[name] = wrong
            if content is None:
                withdrawn[name] = None
            else:
                endpoints[name] = content_text(content)
    if malformed and len(malformed) == len(endpoints) and not withdrawn:
        for name, wrong in malformed.items():
            for problem in wrong:
                problems.add(f"{name}: {problem}")
    return endpoints, withdrawn


def _endpoint(endpoint: Any) -> tuple[Content | None, list[str]]:
    """Return what a plan says of a name (None: it is withdrawn), and the first things that are wrong with it."""
    problems = _Problems()
    content = None
    try:
        content = None if _withdrawn(endpoint, problems) else _content(endpoint, problems)
        wrong = problems.found[:_PROBLEMS_SHOWN]
    except InvalidPlan as error:
        wrong = list(error.problems[:_PROBLEMS_SHOWN])
    if wrong:
        content = Content(ttl_s=0, targets=(), malformed=visible("; ".join(wrong)))
    return content, wrong


def _text(plan: Mapping[str, Any], key: str, problems: _Problems, *, required: bool = False) -> str:
    value = plan.get(key, "")
    if not isinstance(value, str) or len(value) > 256 or (required and not value) or not _is_unicode(value):
        problems.add(f"{key}: must be a text of {'1' if required else '0'} to 256 characters")
        return ""
    return value


def _json(value: Any) -> str:
    """Return a value of a plan as the plan has it, cut where it is long."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return "a value that is too long"
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"


def _is_unicode(text: str) -> bool:
    """Whether a text can be written anywhere: JSON's escapes can make halves of a surrogate pair, which cannot."""
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def _generation(plan: Mapping[str, Any], key: str, problems: _Problems) -> int | None:
    value = plan.get(key)
    if value is not None and (type(value) is not int or not 0 < value < GENERATION_MAX):
        problems.add(f"{key}: {_json(value)} is no integer from 1 to {GENERATION_MAX - 1}")
        return None
    return value


def _withdrawn(endpoint: Any, problems: _Problems) -> bool:
    """Whether the endpoint is withdrawn by the plan."""
    if not isinstance(endpoint, dict) or "withdraw" not in endpoint:
        return False
    if endpoint["withdraw"] is not True or len(endpoint) != 1:
        problems.add('withdraw: to withdraw a name, write {"withdraw": true} and nothing else')
    return True


def _content(endpoint: Any, problems: _Problems) -> Content | None:
    if not isinstance(endpoint, dict):
        problems.add("must be an object")
        return None
    for key in endpoint:
        if key not in _ENDPOINT_KEYS:
            problems.add(f"{key}: unknown key (known: {', '.join(sorted(_ENDPOINT_KEYS))})")
    ttl_s = endpoint.get("ttl_s")
    if type(ttl_s) is not int or not 0 <= ttl_s <= TTL_MAX_S:
        said = f"{_json(ttl_s)} is no" if "ttl_s" in endpoint else "is missing: an"
        problems.add(f"ttl_s: {said} integer from 0 to {TTL_MAX_S}")
        return None
    targets = endpoint.get("targets")
    if not isinstance(targets, list) or len(targets) > TARGETS_MAX:
        said = "must be a" if "targets" in endpoint else "is missing: a"
        problems.add(f"targets: {said} list of at most {TARGETS_MAX}")
        return None
    found: dict[bytes, Target] = {}
    doubled: set[str] = set()
    for target in targets:
        read = _target(target, problems)
        if read is None:
            return None
        packed, value = read
        if packed in found and value.address not in doubled:
            doubled.add(value.address)
            problems.add(f"duplicate: address {value.address} is there twice")
        found[packed] = value
    return Content(ttl_s=ttl_s, targets=tuple(found[packed] for packed in sorted(found, key=_family_first)))


def _family_first(packed: bytes) -> tuple[int, bytes]:
    return (len(packed), packed)


def _target(target: Any, problems: _Problems) -> tuple[bytes, Target] | None:
    if not isinstance(target, dict) or not _TARGET_KEYS.issuperset(target):
        problems.add("each target is an object of address, weight and id")
        return None
    address, weight, ident = target.get("address"), target.get("weight"), target.get("id", "")
    if type(weight) is not int or not 0 <= weight <= WEIGHT_MAX:
        said = f"{_json(weight)} is no" if "weight" in target else "is missing: an"
        problems.add(f"weight: {said} integer from 0 to {WEIGHT_MAX}")
        return None
    if not isinstance(ident, str) or len(ident) > ID_LENGTH_MAX or not _is_unicode(ident):
        problems.add(f"id: must be a text of at most {ID_LENGTH_MAX} characters")
        return None
    try:
        packed = pack_address(address if isinstance(address, str) else repr(address))
    except ValueError as error:
        problems.add(f"address: {error}")
        return None
    return packed, Target(address=unpack_address(packed), weight=weight, id=ident)


def split_zones(
    endpoints: Mapping[str, str], zones: Collection[str]
) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
    """Return the endpoints of each zone, sorted by zone and name, and the names that lie in none."""
    found: dict[str, dict[str, str]] = {}
    outside = []
    known = frozenset(zones)
    for name in sorted(endpoints):
        zone = zone_of(name, known)
        if zone is None:
            outside.append(name)
        else:
            found.setdefault(zone, {})[name] = endpoints[name]
    return dict(sorted(found.items())), tuple(outside)


def cut_zone(
    endpoints: Mapping[str, str], slots_before: int = 0, filling: Filling = FILLING
) -> tuple[ZonePart, dict[str, str]]:
    """Cut one zone's endpoints, sorted by name, into chunks; return its part of a plan, and the texts by digest.

    `slots_before`: the number of slots that the zone has had so far; 0: none. Weight and addresses are left open.
    """
    slots = slots_for(len(endpoints), slots_before, filling)
    texts = chunk_texts(endpoints, slots)
    while slots < min(SLOTS_MAX, _SLOTS_A_NAME * len(endpoints)) and crowded(texts.values()):
        slots *= 2
        texts = chunk_texts(endpoints, slots)
    digests = {slot: chunk_digest(text) for slot, text in texts.items()}
    part = ZonePart(slots=slots, endpoints=len(endpoints), chunks=digests)
    return part, {digests[slot]: text for slot, text in texts.items()}


def crowded(texts: Iterable[str]) -> bool:
    """Whether a chunk of several names is longer than it should be: the zone needs more slots."""
    return any(len(text) > CHUNK_TEXT_WANTED_MAX and text.count("\n") > 1 for text in texts)


def chunk_texts(endpoints: Mapping[str, str], slots: int) -> dict[int, str]:
    """Return the text of each slot that has a name; the endpoints, name to content text, are sorted by name."""
    return {slot: chunk_text(contents) for slot, contents in split_names(endpoints, slots).items()}


def chunk_text(contents: Mapping[str, str]) -> str:
    """Return the text of a chunk; the contents are sorted by name."""
    return "".join([f"{name}\t{content}\n" for name, content in contents.items()])


def parse_chunk(text: str) -> dict[str, str]:
    """Return name to content text of a chunk, in its order."""
    return dict(line.split("\t", 1) for line in text.splitlines())


def chunk_digest(text: str) -> str:
    """Return the digest that a chunk is stored under: 40 hex digits of its text's SHA-256."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:40]


def pack_chunk(text: str) -> bytes:
    """Return the stored form of a chunk. Raises `InvalidPlan` where one bucket holds too much."""
    packed = zlib.compress(text.encode("ascii"), 1)
    if len(packed) > CHUNK_BYTES_MAX:
        name = text.partition("\t")[0]
        raise InvalidPlan(
            (f"size: the bucket of {name} is {len(packed):,} bytes when compressed, at most {CHUNK_BYTES_MAX:,}",)
        )
    return packed


def unpack_chunk(packed: bytes, digest: str) -> str:
    """Return a chunk's text. Raises `PlanUnreadable` where it does not match its digest."""
    try:
        decompressor = zlib.decompressobj()
        raw = decompressor.decompress(packed, CHUNK_TEXT_MAX)
        if decompressor.unconsumed_tail or not decompressor.eof:
            raise PlanUnreadable(f"chunk {digest} is damaged: longer than {CHUNK_TEXT_MAX} bytes or cut short")
        text = raw.decode("ascii")
    except (zlib.error, UnicodeDecodeError) as error:
        raise PlanUnreadable(f"chunk {digest} is damaged: {error}") from error
    if chunk_digest(text) != digest:
        raise PlanUnreadable(f"chunk {digest} does not match its digest")
    return text


def plan_digest(scope: str, zones: Mapping[str, ZonePart]) -> str:
    """Return the digest of a plan's content: 64 hex digits over scope and chunk digests by zone and slot.

    The generation is not part of it: a rollback has the digest of what it brings back.
    """
    lines = [f"{SCHEMA} {scope}\n"]
    for zone in sorted(zones):
        part = zones[zone]
        lines.append(f"{zone} {part.slots} {part.endpoints}\n")
        lines.extend([f"{slot} {part.chunks[slot]}\n" for slot in sorted(part.chunks)])
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def content_digest(scope: str, endpoints: Mapping[str, str]) -> str:
    """Return the digest of a plan document's content, as a planner may state it: 64 hex digits.

    It is over scope, names and content texts alone. The digest of the stored plan is another:
    that one depends on how the store cuts the content into chunks.
    """
    lines = [f"{SCHEMA} {scope}\n", *[f"{name}\t{endpoints[name]}\n" for name in sorted(endpoints)]]
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def merge(texts: Iterable[str]) -> dict[str, str]:
    """Return name to content text of several chunks, sorted by name."""
    merged: dict[str, str] = {}
    for text in texts:
        merged.update(parse_chunk(text))
    return dict(sorted(merged.items()))
