"""Files whose texts are translated while all the rest of them stays as it is.

One module a format; `formats.open_document` finds it by a file's name. A document gives its texts
and takes their translations. Knows formats; does not know who translates.
"""
