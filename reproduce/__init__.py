"""Reproduce the papers' experiments on real data, with the library's public names only."""
