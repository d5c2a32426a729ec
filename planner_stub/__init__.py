"""A planner for trying things: a fleet of load balancers that changes, published as plans, good and bad."""
