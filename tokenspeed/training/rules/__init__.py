"""Training pairs made by rule: what no corpus has enough of, right in four languages by design.

Every pair comes from a template written here and from slots whose values are computed, so a seed
gives the same pairs anywhere. Knows no tokens and no files.
"""
