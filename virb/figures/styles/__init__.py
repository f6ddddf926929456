"""Figure styles that are there."""
