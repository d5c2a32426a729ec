"""Mistakes that people make: each is made on purpose, and what is said of it is read."""
