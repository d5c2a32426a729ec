"""Conformance: whether a DNS server keeps what the fence needs, tried on the server itself, property by property."""

from enactord.operations.conformance.run import Target, conform
from enactord.operations.conformance.verdict import Conformance, Result, Verdict

__all__ = ["Conformance", "Result", "Target", "Verdict", "conform"]
