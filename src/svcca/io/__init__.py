"""Activations on disk, result documents, files that are never half-written."""

from svcca.io.store import load_activations, save_activations

__all__ = ["load_activations", "save_activations"]
