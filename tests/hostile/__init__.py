"""Hostile input at every surface that reads what it did not write: limits hold, nothing hangs, errors are ours."""
