"""How many speakers a machine holds: measured, and predicted."""
