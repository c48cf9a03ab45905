import numpy as np
import pytest
from reproduce.claims import FAILS, HOLDS
from reproduce.figures.classes import apart, distances, judged

CLASSES = ("cat", "dog", "ship", "truck")
ALIKE = (("ship", "truck"), ("cat", "dog"))


def verdicts(levels, slope):
    """Of curves that rise by a slope from a level for each class."""
    jitter = np.random.default_rng(0).uniform(0, 1e-3, (3, 5, 4))
    curves = np.array(levels) + slope * np.arange(5)[:, None] + jitter
    return [finding.verdict for finding in judged({"values": curves, "corrected": curves}, CLASSES, ALIKE, "conv")]


def test_curves_that_rise_and_run_together_in_like_classes_are_found():
    assert verdicts([0.1, 0.12, 0.4, 0.41], 0.1) == [HOLDS, HOLDS]


def test_curves_that_fall_and_run_together_in_unlike_classes_are_not_taken_for_them():
    assert verdicts([0.5, 0.9, 0.5, 0.9], -0.1) == [FAILS, FAILS]


def test_the_distance_of_curves_is_the_root_mean_square_over_layers():
    between = distances(np.array([[0.0, 0.3], [0.0, 0.4]]))
    assert between == pytest.approx(np.sqrt((0.09 + 0.16) / 2) * (1 - np.eye(2)))


def test_classes_are_looked_up_by_name():
    between = np.ones((4, 4))
    between[0, 1] = between[1, 0] = 0.2
    between[2, 3] = between[3, 2] = 0.4
    assert apart(between, CLASSES, ALIKE) == pytest.approx(1 - 0.3)
