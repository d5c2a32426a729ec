"""The enactor of the October 2025 outage, as a fair and working program: what enactord is compared with.

It is no straw man: its lock is correct, its transactions are atomic, its loops retry. What
it lacks is what the outage's enactor lacked: a check of the generation within the write.
"""
