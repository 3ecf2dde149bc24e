"""Requests in, tokens out: what runs next, in which slot, and from which model directory."""
