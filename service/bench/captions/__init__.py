"""Replays through the service, over its socket or simulated, by any policy, against baselines."""
