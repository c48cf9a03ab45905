"""Activations on disk, result documents, files that are never half-written."""
