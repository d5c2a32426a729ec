"""Names to plan for: DynamoDB's real endpoint names, and as many account endpoints beyond them as are asked for."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib import import_module, resources
from itertools import chain, islice
from pathlib import Path

from enactord.core.errors import InvalidName
from enactord.core.names import parse_name, zone_of

FIRST_NAME = "dynamodb.us-east-1.amazonaws.com."
"""The endpoint that lost every address; always in the first plan."""

_ACCOUNT_FIRST = 123_456_789_012
_ACCOUNT_STEP = 7_919
_ACCOUNTS = 10**12


@lru_cache(maxsize=1)
def bundled_names() -> tuple[str, ...]:
    """Return DynamoDB's endpoint names of all public regions: standard, FIPS, dual-stack, streams, DAX."""
    text = resources.files("planner_stub").joinpath("names.txt").read_text(encoding="ascii")
    return tuple(_lines(text))


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names of a file, one a line; blank lines and those that start with # are left out.

    Raises `InvalidName`, OSError.
    """
    return tuple(dict.fromkeys(parse_name(line) for line in _lines(path.read_text(encoding="utf-8"))))


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield stripped


def account_names(zone: str = "amazonaws.com.") -> Iterator[str]:
    """Yield account endpoints without end, like 123456789012.ddb.us-east-1.amazonaws.com.

    Source: botocore, the endpoint rule set of dynamodb ("{AccountId}.ddb.{Region}.{dnsSuffix}").
    """
    account = _ACCOUNT_FIRST
    while True:
        yield f"{account:012d}.ddb.us-east-1.{zone}"
        account = (account + _ACCOUNT_STEP) % _ACCOUNTS


def choose_names(count: int, *, zones: Sequence[str] = (), source: Sequence[str] = ()) -> list[str]:
    """Return so many names: those of the source (default: bundled), then account endpoints.

    With `zones`, only names inside one of them; where none of AWS's zones is there, the
    account endpoints lie in the first.
    """
    given = source or bundled_names()
    derived_zone = "amazonaws.com."
    if zones:
        given = [name for name in given if zone_of(name, zones) is not None]
        if zone_of("ddb.us-east-1." + derived_zone, zones) is None:
            derived_zone = zones[0]
    derived: Iterable[str] = account_names(derived_zone)
    return list(islice(dict.fromkeys(islice(chain(given, derived), count + len(given))), count))


def botocore_names() -> tuple[str, ...]:
    """Return every endpoint name of every AWS service that botocore knows, sorted.

    Raises ImportError where botocore is not installed (it comes with the bench extra).
    """
    loader = import_module("botocore.loaders").Loader()
    found: dict[str, None] = {}
    for partition in loader.load_data("endpoints")["partitions"]:
        for service, described in partition["services"].items():
            merged = partition["defaults"] | described.get("defaults", {})
            for region, endpoint in described["endpoints"].items():
                for hostname, suffix in _hostnames(merged | endpoint, partition["dnsSuffix"]):
                    text = hostname.format(service=service, region=region, dnsSuffix=suffix)
                    try:
                        found[parse_name(text)] = None
                    except InvalidName:
                        continue
    return tuple(sorted(found))


def _hostnames(endpoint: dict[str, object], suffix: str) -> Iterator[tuple[str, str]]:
    """Yield hostname template and DNS suffix of an endpoint, of its own and of each variant."""
    hostname = endpoint.get("hostname")
    if isinstance(hostname, str):
        yield hostname, suffix
    variants = endpoint.get("variants")
    for variant in variants if isinstance(variants, list) else []:
        if "hostname" in variant:
            yield variant["hostname"], variant.get("dnsSuffix", suffix)
