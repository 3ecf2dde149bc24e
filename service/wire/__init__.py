"""The protocol `tokenspeed.v1`, and the queue of frames between a session and its socket."""
