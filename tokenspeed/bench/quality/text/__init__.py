"""Texts with one right answer each, or one word that must be in it: kinds, passed and total."""
