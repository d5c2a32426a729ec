"""Python's garbage collector, set for a daemon that makes many short-lived values at once."""

import gc


def tune_collector() -> None:
    """Look for cycles less often.

    A plan of 10,000 endpoints makes some 100,000 tuples that live for a moment; by default
    the collector goes through them again and again, which costs a quarter of an apply.
    What was imported lives as long as the process and need not be looked at at all.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
