"""Config, wiring, lifetimes, HTTP, status page, and the operations on a scope."""
