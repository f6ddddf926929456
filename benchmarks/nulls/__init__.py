"""The rows of benchmarks/null.py, by what they are about."""
