"""Text before and after a model: what people send, made into what a model reads, and back.

Pure: characters in, characters out. Knows no tokens, models, sessions or sockets.
"""
