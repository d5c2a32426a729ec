"""The only place where the order of steps lives; start at `enactor.py`."""
