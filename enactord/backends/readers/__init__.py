"""Readers of what DNS servers serve."""
