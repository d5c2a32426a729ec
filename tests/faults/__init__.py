"""Faults on real servers, each declared once: what is told of it, and what it alerts, others try."""
