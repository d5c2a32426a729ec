"""Grafana dashboards, made by code: what is shown, and by which expressions."""
