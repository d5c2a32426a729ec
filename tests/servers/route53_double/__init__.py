"""Route 53's API on loopback: the part that enactord uses, as AWS documents it."""

from tests.servers.route53_double.server import ACCESS_KEY, SECRET_KEY, Faults, Route53Double

__all__ = ["ACCESS_KEY", "SECRET_KEY", "Faults", "Route53Double"]
