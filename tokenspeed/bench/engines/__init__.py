"""What a step costs, compared with the limits of the machine and with other engines."""
