"""Readers of the data that a user has: CIFAR-10 in three layouts, WikiText-2, and the digits of scikit-learn."""
