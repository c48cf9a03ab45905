import numpy as np
import pytest
from reproduce.claims import FAILS, HOLDS, OPEN
from reproduce.figures.lstm_dynamics import averages, fall, progress, verdicts

STEPS = np.linspace(0, 1, 11)


def curves(rates, start=0.2):
    """A seed's curves: each layer goes from its start to 1 at its own rate; a column for the embedding comes first."""
    layers = [start + (1 - start) * STEPS ** (1 / rate) for rate in rates]
    return np.stack([np.ones(11), *layers], axis=1)


def judged(*seeds):
    return [finding.verdict for finding in verdicts(np.array(seeds), 3, "SVCCA")]


def test_nets_whose_lower_layers_are_first_are_bottom_up():
    assert judged(curves([4, 2, 1]), curves([4.2, 2, 1.1]), curves([3.9, 2.2, 1])) == [HOLDS, HOLDS]


def test_nets_whose_upper_layers_are_first_are_not():
    assert judged(curves([1, 2, 4]), curves([1.1, 2, 4.2]), curves([1, 2.2, 3.9])) == [FAILS, FAILS]


def test_seeds_that_disagree_decide_nothing():
    assert judged(curves([4, 2, 1]), curves([1, 2, 4]), curves([2, 2, 2.1])) == [OPEN, OPEN]


def test_layers_that_only_start_nearer_do_not_go_earlier():
    head_start = [0.9, 0.5, 0.1]

    def seed(rates):
        layers = [start + (1 - start) * STEPS ** (1 / rate) for start, rate in zip(head_start, rates, strict=True)]
        return np.stack([np.ones(11), *layers], axis=1)

    assert judged(seed([1, 1.5, 2]), seed([1.1, 1.5, 2]), seed([1, 1.6, 2])) == [HOLDS, FAILS]


def test_the_embedding_does_not_count():
    seeds = [curves([1, 2, 4]) for _ in range(3)]
    for seed in seeds:
        seed[:, 0] = 100.0
    assert judged(*seeds) == [FAILS, FAILS]


def test_the_last_step_does_not_count():
    assert averages(np.array([[0.0, 0.4], [0.2, 0.6], [1.0, 1.0]])) == pytest.approx([0.1, 0.5])


def test_progress_is_the_share_of_the_way_that_is_behind():
    found = progress(np.array([[0.5, 0.2], [0.75, 0.6], [1.0, 1.0]]))
    assert found == pytest.approx(np.array([[0, 0], [0.5, 0.5], [1, 1]]))


def test_a_fall_is_the_slope_over_all_layers():
    assert fall(np.array([0.9, 0.7, 0.5])) == pytest.approx(0.2)
    assert fall(np.array([0.5, 0.9, 0.5])) == pytest.approx(0, abs=1e-12)
    assert fall(np.array([0.1, 0.4])) == pytest.approx(-0.3)
