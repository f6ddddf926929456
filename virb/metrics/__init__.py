"""Metrics that stream over batches."""
