"""Benchmarks: what safety costs, how fast enactord is beside what one would use instead, how cost grows with work."""

import os

# Else gRPC remarks upon each program that is started beside it.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
