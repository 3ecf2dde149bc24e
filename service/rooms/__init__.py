"""Rooms: one speaker or several, and everybody who reads along."""
