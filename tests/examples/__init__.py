"""Worked examples of CONTRIBUTING.md: each is applied to a copy of the tree, and tried there."""
