"""Many replicas at one time, simulated: who goes where, what fails, what it takes."""
