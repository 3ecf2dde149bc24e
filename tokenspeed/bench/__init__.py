"""Benchmarks: what a step costs here, against the machine's limits and against other engines."""
