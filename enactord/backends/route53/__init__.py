"""A hosted zone of Amazon Route 53."""

from enactord.backends.route53.api import Route53Api
from enactord.backends.route53.zone import Route53Zone

__all__ = ["Route53Api", "Route53Zone"]
