"""How good a model's translations are, and what quality fewer bits cost."""
