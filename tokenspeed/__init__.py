"""TokenSpeed's engine: token ids in, token ids out. Knows no sockets, no sessions, no users."""

__version__ = "0.1.0"
