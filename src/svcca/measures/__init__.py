"""Measures of similarity: one file a family."""
