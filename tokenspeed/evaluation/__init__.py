"""How good the model is: translation quality, prefixes, and what streaming makes of them."""
