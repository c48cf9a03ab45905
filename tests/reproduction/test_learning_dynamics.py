import numpy as np
import pytest
from reproduce.claims import FAILS, HOLDS
from reproduce.figures.learning_dynamics import (
    gathered,
    judged_order,
    judged_patterns,
    pane_places,
    residual_plotted,
    stripes,
)

STEPS = [0, 10, 20, 40]
LAYERS = ["relu1", "relu2", "relu3", "relu7", "out"]


def followed(times, seed):
    jitter = np.random.default_rng(seed).uniform(0, 0.5, len(times))
    curves = np.stack([np.interp(STEPS, [0, time], [0.2, 1.0]) for time in times + jitter], axis=1)
    return {"layers": LAYERS, "steps": STEPS, "curves": curves.tolist()}


def verdicts(times):
    found = gathered([followed(np.array(times), seed) for seed in range(3)])
    return [finding.verdict for finding in judged_order(found, LAYERS[:4], ("relu7", "out"), "conv")]


def test_bottom_up_with_an_early_top_is_found():
    assert verdicts([2, 12, 22, 38, 15]) == [HOLDS, HOLDS, HOLDS]


def test_top_down_with_a_late_top_is_not_taken_for_it():
    assert verdicts([32, 22, 12, 2, 38]) == [FAILS, FAILS, FAILS]


def test_panes_lie_at_the_papers_times():
    assert pane_places(21) == [0, 7, 15, 20]


@pytest.mark.parametrize("inside", [0.2, 0.9])
def test_stripes_are_outputs_alike_with_what_lies_between_unlike(inside):
    outputs, within = [2, 5, 8], [[0, 1], [3, 4], [6, 7]]
    matrix = np.full((9, 9), inside)
    matrix[np.ix_(outputs, outputs)] = 0.7
    assert stripes(matrix, outputs, within) == pytest.approx(0.7 - inside)


def test_stripes_compare_with_what_is_inside_the_later_block_alone():
    matrix = np.full((6, 6), 0.1)
    matrix[np.ix_([2, 5], [2, 5])] = [[1.0, 0.8], [0.8, 1.0]]  # the block with itself does not count
    matrix[2, [3, 4]] = [0.3, 0.5]
    assert stripes(matrix, [2, 5], [[0, 1], [3, 4]]) == pytest.approx(0.8 - 0.4)


def patterns(batch_norm, inside):
    conv_layers = ["relu1", "bn1", "relu2", "bn2"]
    conv = np.eye(4)
    conv[0, 1] = conv[2, 3] = batch_norm
    names = residual_plotted(1)
    after = [names.index(f"block{number}") for number in (1, 2, 3)]
    residual = np.ones((len(names), len(names)))  # only what is inside is looked at beside the outputs
    within = [names.index(f"block{number}{part}") for number in (1, 2, 3) for part in (".2", ".4")]
    residual[:, within] = inside
    residual[np.ix_(after, after)] = 0.5
    jitter = np.random.default_rng(0).uniform(0, 0.005, 3)
    found = [
        {"layers": layers, "panes": np.array([[matrix - extra] for extra in jitter])}
        for layers, matrix in ((conv_layers, conv), (names, residual))
    ]
    return judged_patterns(*found, blocks=1)


def test_squares_and_stripes_are_found():
    squares, lines = patterns(batch_norm=1.0, inside=0.3)
    assert (squares.verdict, lines.verdict) == (HOLDS, HOLDS)
    assert lines.values == pytest.approx([0.5 - 0.3] * 3)


def test_squares_and_stripes_are_not_seen_where_there_are_none():
    assert [finding.verdict for finding in patterns(batch_norm=0.9, inside=0.8)] == [FAILS, FAILS]
