"""Figures: arrays and labels in, axes out."""
