"""Time fixed work beside its floor and beside the papers' procedure: `python -m benchmarks`."""
