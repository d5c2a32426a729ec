"""A hosted zone of Amazon Route 53."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from enactord.backends.backend import Backend, Capabilities, Connected, Site, ZoneConfig
from enactord.core.errors import ConfigError
from enactord.core.render import WEIGHTED
from enactord.core.settings import number, text
from enactord.wire.address import Address

_FENCE_REQUESTS_RATIO = 0.2
"""What part of the requests may ask for fences: most are left for plans."""


def _parse_zone_id(value: str) -> str:
    if not re.fullmatch(r"(/hostedzone/)?[A-Z0-9]{1,32}", value):
        raise ValueError("must be as Route 53 shows it: Z…")
    return value


def _parse_url(value: str) -> str:
    if "@" in value:  # botocore shows the address in its errors
        raise ValueError("must hold no name and no password: Route 53 takes its credentials from the environment")
    if not re.fullmatch(r"https?://[^\s]+", value):
        raise ValueError("must begin with http:// or https://")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Route53Config(ZoneConfig):
    """A zone of the backend route53."""

    BACKEND: ClassVar[str] = "route53"
    REPAIR_INTERVAL_S: ClassVar[float] = 300.0  # a look at 10,000 sets takes some 100 requests
    SHARED: ClassVar[tuple[str, ...]] = ("endpoint_url", "requests_per_s", "timeout_s")
    WITHOUT: ClassVar[Mapping[str, str]] = {
        "verify": "it serves one of the weighted addresses at a time",
        "answers_max": "it serves all addresses by their weights",
        "in_flight_max": "it takes one change of a zone at a time",
    }

    hosted_zone_id: str = text(
        parse=_parse_zone_id,
        takes="an id as Route 53 shows it: Z…",
        required=True,
        meaning="Id of the hosted zone. Credentials come by AWS's usual chain.",
    )
    endpoint_url: str = text(
        parse=_parse_url,
        takes="http://… or https://…",
        meaning="URL of another endpoint than AWS's own, the same for all zones.",
    )
    requests_per_s: float = number(
        3.0,
        low=0.1,
        high=10_000,
        meaning="Most requests of this enactor in a second, the same for all zones. AWS allows an account 10 in all.",
    )
    in_flight_max: int = 2
    verify: tuple[Address, ...] = ()
    verify_timeout_s: float = number(
        90.0, low=0.1, high=600, meaning="Time limit for a change to reach all servers of Route 53."
    )
    answers_max: int = WEIGHTED

    @property
    def fence_questions_per_s(self) -> float | None:
        return self.requests_per_s * _FENCE_REQUESTS_RATIO


async def _connect(zone: Route53Config, site: Site) -> Connected:
    from enactord.backends.readers.verifiers import named_or_itself

    try:
        from enactord.backends.route53.api import Route53Api  # boto3 takes long to import
        from enactord.backends.route53.zone import Route53Zone
    except ModuleNotFoundError as error:
        detail = f"zone.backend: route53 needs {error.name}: pip install 'enactord[route53]'"
        raise ConfigError((detail,)) from error

    async def open_api() -> Route53Api:
        return await Route53Api.open(
            timeout_s=zone.timeout_s, requests_per_s=zone.requests_per_s, endpoint_url=zone.endpoint_url
        )

    port = Route53Zone(zone.name, await site.shared("route53", open_api), zone_id=zone.hosted_zone_id)
    return Connected(zone=port, verifiers=named_or_itself(zone, site, port))


BACKEND = Backend(
    meaning="the API of Amazon Route 53",
    zone=Route53Config,
    can=Capabilities(),
    connect=_connect,
)
