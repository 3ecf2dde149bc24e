"""Replays through the service: over its socket or in process, by any policy, against baselines."""
