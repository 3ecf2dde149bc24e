"""Captions from speech or lines of text, by the command `tokenspeed captions`."""
