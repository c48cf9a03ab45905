"""Convolutional layers by spatial frequency."""
