"""Measuring the service: captions by every policy, and many speakers at once."""
