"""The papers' experiments on real data, by the library's public names alone."""
