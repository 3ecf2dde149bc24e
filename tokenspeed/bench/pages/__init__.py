"""Pages made from committed results: README, quality, model card, voice and pipelines."""
