"""Freeze Training: stop training the layers that have converged."""
