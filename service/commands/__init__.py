"""Commands that translate as the service does, without its sockets."""
