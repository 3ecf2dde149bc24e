"""What a step costs here, against the limits of the machine and against other engines."""
