"""Layouts that any data set may lie in: readers that are found by looking at a folder or file."""
