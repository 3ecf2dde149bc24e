"""How good the translations of a model are, and what fewer bits cost."""
