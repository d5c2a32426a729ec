"""The hot pieces of an apply, each by itself (pytest-benchmark). `python -m bench micro` runs them."""
