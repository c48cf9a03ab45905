"""Compress a network: layers see their inputs through the directions that matter."""
