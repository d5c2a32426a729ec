"""The doctor: what keeps an enactor with this config from its work, or soon will, and what to type about it."""

from enactord.doctor.check import Check, Report, State
from enactord.doctor.examination import examine

__all__ = ["Check", "Report", "State", "examine"]
