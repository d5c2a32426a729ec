"""Benchmarks: what safety costs, how fast enactord is beside what one would use instead, how cost grows with work."""
