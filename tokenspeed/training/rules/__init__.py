"""Training pairs made by rule, of what corpora have too little of; correct by construction.

Every pair is a template with computed values in its slots, so a seed gives the same pairs
everywhere. Knows no tokens and no files.
"""
