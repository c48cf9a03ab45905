"""Read the user's data: CIFAR-10 in three layouts, WikiText-2, and the digits of scikit-learn."""
