"""Commands that need the service's way with text, without its sockets."""
