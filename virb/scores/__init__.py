"""Scores from anywhere as one checked table."""
