"""The alerts that are shipped, shown by single faults on real servers: what an operator is told, and how soon."""
