"""Pages made from committed results: the README, the quality page and the model card."""
