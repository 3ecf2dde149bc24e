"""Text before and after a model: what people send becomes what a model reads, and back.

Pure: characters in, characters out; ids are numbers with a text. Knows no models, sessions or
sockets.
"""
