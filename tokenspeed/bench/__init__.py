"""Benchmarks: what steps cost, how good translations are, and pages made from the results."""
