"""enactord applies numbered DNS plans to authoritative DNS, fenced on every write."""

__version__ = "0.1.0"
