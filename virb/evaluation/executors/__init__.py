"""Where the pieces of a grid run."""
