"""Values and rules: the standard library only; no await, clock, random, environment or log."""
