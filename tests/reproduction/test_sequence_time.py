import numpy as np
import pytest
from reproduce.claims import FAILS, HOLDS
from reproduce.figures.sequence_time import (
    LINEAR,
    MEASURES,
    against_last,
    cosine,
    linear_states,
    linear_verdicts,
    lstm_verdicts,
    middle,
    split,
    stacked,
)

LATE = [0.1, 0.1, 0.1, 0.15, 0.7, 1.0]
FLAT = [0.7, 0.8, 0.8, 0.8, 0.85, 1.0]
NEVER = [0.1, 0.1, 0.1, 0.1, 0.15, 1.0]
ONES = [1.0] * 6
TURNING = [0.05, -0.05, 0.05, -0.05, 0.05, 1.0]


def layer(curve):
    return {measure: list(curve) for measure in MEASURES} | {"chance": [0.0]}


def lstms(trained, untrained):
    return [{"trained": [layer(curve) for curve in trained], "untrained": [layer(untrained)] * 2} for _ in range(3)]


def linear(cca, cosines):
    return [{kind: layer(cca) | {"cosine": cosines} for kind in LINEAR} for _ in range(3)]


def verdicts(findings):
    return [finding.verdict for finding in findings]


def test_an_lstm_that_is_similar_only_late():
    assert verdicts(lstm_verdicts(lstms([LATE, LATE], FLAT))) == [HOLDS, HOLDS, HOLDS]


def test_an_lstm_whose_steps_are_alike_throughout():
    assert verdicts(lstm_verdicts(lstms([FLAT, FLAT], LATE))) == [FAILS, FAILS, FAILS]


def test_an_lstm_that_is_never_similar():
    assert verdicts(lstm_verdicts(lstms([NEVER, NEVER], NEVER))) == [HOLDS, FAILS, HOLDS]


def test_every_layer_must_be_so():
    assert verdicts(lstm_verdicts(lstms([LATE, FLAT], FLAT)))[:2] == [FAILS, FAILS]


def test_linear_nets_whose_steps_are_equivalent():
    assert verdicts(linear_verdicts(linear(ONES, TURNING))) == [HOLDS, HOLDS, HOLDS]


def test_one_step_that_differs_is_enough():
    other = [1.0, 1.0, 0.9, 1.0, 1.0, 1.0]
    findings = linear_verdicts(linear(other, ONES))
    assert verdicts(findings) == [FAILS, FAILS, FAILS]
    assert findings[0].mean == findings[2].mean == pytest.approx(0.9)


def test_cosines_that_cancel_over_steps_still_show_something():
    findings = linear_verdicts(linear(ONES, [0.5, -0.5, 0.5, -0.5, 0.0, 1.0]))
    assert verdicts(findings) == [HOLDS, FAILS, HOLDS]


def test_values_are_shares_beyond_chance():
    found = [{"trained": [layer([0.2, 0.6, 1.0]) | {"chance": [0.2]}]}]
    assert stacked(found, "trained", "pwcca")[0, 0] == pytest.approx([0, 0.5, 1])


@pytest.fixture(scope="module")
def states():
    return {kind: linear_states(kind, width=6, n=400, length=8, seed=0) for kind in LINEAR}


def test_a_linear_net_follows_its_recurrence(states):
    for kind in ("orthogonal", "invertible"):
        matrix = np.linalg.lstsq(states[kind][0], states[kind][1], rcond=None)[0]
        for before, after in zip(states[kind][:-1], states[kind][1:], strict=True):
            assert np.abs(before @ matrix - after).max() < 1e-10
        is_orthogonal = np.abs(matrix @ matrix.T - np.eye(6)).max() < 1e-10
        assert is_orthogonal == (kind == "orthogonal")


def test_the_steps_of_a_linear_net_without_input_are_equivalent(states):
    assert min(against_last(states["orthogonal"])["cca"]) > 1 - 1e-9
    assert min(against_last(states["orthogonal"])["linear_cka"]) > 0.95  # exactly 1 for states that are exactly white
    invertible = against_last(states["invertible"])
    assert min(invertible["cca"]) > 1 - 1e-9
    assert min(invertible["linear_cka"]) < 0.9


def test_with_input_the_similarity_is_the_root_of_the_share_of_steps(states):
    """State j has j parts of variance 1, and they are all in the last one, which has T."""
    expected = np.sqrt(np.arange(1, 9) / 8)
    # The standard error of a correlation over 400 samples is at most 0.05; of the mean of six, less.
    assert against_last(states["driven"])["cca"] == pytest.approx(expected, abs=0.06)


def test_against_last_gives_every_measure_at_every_step(states):
    curves = against_last(states["driven"])
    assert set(curves) == {*MEASURES, "chance"}
    assert all(len(curves[measure]) == 8 and curves[measure][-1] == pytest.approx(1) for measure in MEASURES)
    assert 0 < curves["chance"][0] < 0.2


def test_the_cosine_of_states_is_per_sample():
    x = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert cosine(x, 3 * x) == pytest.approx(1)
    assert cosine(x, np.array([[0.0, 1.0], [0.0, 5.0]])) == pytest.approx(0.5)


def test_flattened_sequences_come_apart_by_step():
    rows = np.arange(2 * 3 * 4).reshape(2, 12)
    parts = split(rows, 3)
    assert len(parts) == 3
    assert parts[1].tolist() == [[4, 5, 6, 7], [16, 17, 18, 19]]


def test_the_middle_of_a_sequence():
    assert middle(np.arange(35)) == 17
    assert middle(np.array([[1, 2, 3, 4]])).tolist() == [3]
