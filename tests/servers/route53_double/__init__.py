"""Route 53's API on loopback: the part that enactord uses, as AWS documents it."""

from tests.servers.route53_double.credentials import ENVIRONMENT, use_credentials
from tests.servers.route53_double.server import Faults, Route53Double

__all__ = ["ENVIRONMENT", "Faults", "Route53Double", "use_credentials"]
