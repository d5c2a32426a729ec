"""Real faults on real parts: etcd, Knot, BIND and enactors as processes, watched from the outside. See `__main__`."""
