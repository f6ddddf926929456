"""The parts of benchmarks/gpu.py, one file each: ``run(part)`` writes the rows."""
