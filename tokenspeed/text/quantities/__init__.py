"""Numbers, times, dates and money in text: read in one language, written in another.

Pure: characters in, characters out. Knows no models, tokens or sessions.
"""
