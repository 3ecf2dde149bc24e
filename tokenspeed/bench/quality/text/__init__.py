"""Texts with one right translation, or with words that it must have: passed of total, by kind."""
