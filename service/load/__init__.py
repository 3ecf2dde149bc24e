"""How much is taken on: bounds, admission, and what operators see of it."""
