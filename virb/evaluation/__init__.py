"""Evaluation: the grid of jobs, what is missing of it, and running that."""
