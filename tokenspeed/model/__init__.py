"""What a model is: its configuration, files, tokens and prompts, and the decoder in plain torch."""
