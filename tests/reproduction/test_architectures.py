import numpy as np
import pytest
from reproduce.claims import FAILS, HOLDS
from reproduce.figures.architectures import along_depth, judged

ROWS, COLUMNS = np.linspace(0.1, 0.9, 5), np.linspace(0.05, 0.95, 8)
APART = np.abs(ROWS[:, None] - COLUMNS[None, :])


def verdicts(trained, untrained):
    jitter = np.random.default_rng(0).uniform(0, 1e-3, (3, 1, 1))
    return [f.verdict for f in judged(trained + jitter, untrained + jitter, ROWS, COLUMNS, "pool")]


def test_layers_alike_at_the_same_proportion_of_depth_are_the_first_versions_finding():
    assert verdicts(1 - APART, np.full(APART.shape, 0.1)) == [HOLDS, HOLDS, FAILS, HOLDS]


def test_similarity_that_falls_with_depth_is_the_second_versions_finding():
    falling = 1 - ROWS[:, None] - COLUMNS[None, :] / 100  # the first column is the most similar to all
    assert verdicts(falling, np.ones(APART.shape)) == [FAILS, FAILS, HOLDS, FAILS]


def test_an_order_is_not_the_same_proportion():
    # All are most similar to one of the first three layers, if in the right order.
    apart = np.abs(ROWS[:, None] / 4 - COLUMNS[None, :])
    assert verdicts(1 - apart, np.zeros(apart.shape))[:2] == [FAILS, HOLDS]


def test_similarity_along_depth_is_that_of_the_nearest_layer():
    values = np.arange(6.0).reshape(2, 3)
    assert along_depth(values, np.array([0.2, 0.8]), np.array([0.1, 0.25, 0.9])) == pytest.approx([1, 5])
