"""Layers against layers: which pairs, and the labelled matrix that comes out."""
