"""The parts of benchmarks/ssl_against_lightly.py: lightly's models, its side of a run, and what is compared before training."""
