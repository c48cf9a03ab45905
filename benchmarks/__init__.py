"""Fixed work, timed beside its floor and beside the paper's procedure: `python -m benchmarks`."""
