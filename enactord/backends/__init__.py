"""The ways to write a zone: a package or module for each."""
