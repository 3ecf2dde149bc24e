"""The recipe of the default model: corpus, examples, packed batches, training, export."""
