"""Thin adapters to other libraries; each is imported only when asked for, by its own module name."""
