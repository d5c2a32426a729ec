"""The ways to write a zone: a package for each, and a line of `ALL`."""

from collections.abc import Mapping

from enactord.backends import embedded, rfc2136, route53, skydns
from enactord.backends.backend import Backend

ALL: Mapping[str, Backend] = {
    backend.name: backend
    for backend in (
        rfc2136.BACKEND,
        skydns.BACKEND,
        route53.BACKEND,
        embedded.BACKEND,
    )
}
"""All backends by name, in the order in which people are told of them."""
