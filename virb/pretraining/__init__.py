"""Pretraining: losses, learners, data orders, the trainer and its runs."""
