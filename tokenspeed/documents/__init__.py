"""Files whose texts are translated while the rest of each file stays as it is.

Each format has a module; `formats.open_document` finds it by a file's name. A document gives its
texts and takes their translations. Knows formats; does not know who translates.
"""
