from itertools import combinations

import numpy as np
import pytest
from reproduce.claims import FAILS, HOLDS
from reproduce.figures.layer_matching import between, is_highest, judged, twins_found

BLIND = np.full((4, 4), 0.5)
SEES_ALL = 0.5 + 0.3 * np.eye(4)
SEES_HALF = 0.5 + np.diag([0.3, 0.3, -0.3, -0.3])


def shares(**measures):
    return {name: twins_found(dict.fromkeys(combinations(range(3), 2), one)) for name, one in measures.items()}


def test_all_twins_are_found_where_the_diagonal_is_highest():
    assert twins_found({(0, 1): SEES_ALL, (0, 2): SEES_HALF, (1, 2): SEES_ALL}) == [0.75, 1.0, 0.75]


def test_a_measure_that_is_the_same_for_all_layers_finds_no_twin():
    assert not is_highest(BLIND).any()
    assert not is_highest(BLIND + 1e-12 * np.eye(4)).any()


def test_both_nets_of_a_pair_look_for_their_twins():
    matrix = SEES_ALL.copy()
    matrix[0, 3] = 0.9  # row 0 and column 3 are each misled
    matrix[1, 3] = 0.95  # column 3 still, and row 1 as well
    assert is_highest(matrix).tolist() == [False, False, True, True]
    assert is_highest(matrix.T).tolist() == [True, True, True, False]
    assert twins_found({(0, 1): matrix}) == [0.5, 0.75]


def test_the_published_order_is_found():
    found = shares(linear_cka=SEES_ALL, svcca=BLIND, cca=BLIND, linear_regression_r2=SEES_HALF)
    assert [finding.verdict for finding in judged(found, "pool")] == [HOLDS] * 3


def test_another_order_and_a_draw_do_not_pass_for_it():
    found = shares(linear_cka=BLIND, svcca=SEES_ALL, cca=SEES_ALL, linear_regression_r2=SEES_HALF)
    assert [finding.verdict for finding in judged(found, "pool")] == [FAILS] * 3
    draw = shares(linear_cka=SEES_ALL, svcca=SEES_ALL, cca=SEES_ALL, linear_regression_r2=SEES_ALL)
    assert [finding.verdict for finding in judged(draw, "pool")] == [FAILS] * 3


@pytest.mark.parametrize(("middle", "margin"), [(0.5, 0.3), (0.9, 0.1), (1.1, -0.1), (0.1, -0.1)])
def test_the_margin_of_what_lies_between_is_the_smaller_one(middle, margin):
    assert between({"a": [0.2], "b": [middle], "c": [1.0]}, "a", "b", "c") == [pytest.approx(margin)]
