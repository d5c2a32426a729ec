"""Benchmarks: what enactord costs beside the bare updates, measured side by side in one run."""
