import numpy as np
from reproduce.claims import FAILS, HOLDS
from reproduce.figures.two_seeds import judged

LAYERS = ["conv1", "pool2", "fc1", "out"]


def planted(*twins):
    noise = np.random.default_rng(0).normal(0, 0.01, (3, len(twins)))
    return np.stack([np.diag(row) for row in np.array(twins) + noise])


def verdicts(trained, before):
    return [finding.verdict for finding in judged(LAYERS, planted(*trained), planted(*before))]


def test_nets_that_are_alike_at_both_ends_by_training_bear_the_claims_out():
    assert verdicts((0.9, 0.5, 0.5, 0.8), (0.3, 0.3, 0.3, 0.3)) == [HOLDS] * 4


def test_nets_that_are_alike_in_the_middle_do_not():
    assert verdicts((0.5, 0.9, 0.9, 0.6), (0.3, 0.3, 0.3, 0.3)) == [FAILS, FAILS, HOLDS, HOLDS]


def test_what_was_so_before_training_is_not_put_down_to_it():
    assert verdicts((0.9, 0.5, 0.5, 0.8), (0.95, 0.6, 0.3, 0.3)) == [HOLDS, HOLDS, FAILS, HOLDS]
    assert verdicts((0.9, 0.5, 0.5, 0.8), (0.3, 0.3, 0.7, 0.8))[3] == FAILS
