import numpy as np
import pytest
import torch
from reproduce.figures.summaries import OTHERS, SUMMARIES, separation, smallest_step, summarised


def table(**values):
    return np.array([[[values[name]] * len(SUMMARIES) for name in OTHERS]])


def test_separation_is_the_twin_less_noise():
    values = table(itself=1.0, twin=0.7, untrained=0.5, shuffled=0.1, noise=0.3)
    np.testing.assert_allclose(separation(values), np.full((1, len(SUMMARIES)), 0.4))


def test_the_smallest_step_is_positive_only_if_every_summary_is_in_order():
    values = table(itself=1.0, twin=0.7, untrained=0.5, shuffled=0.1, noise=0.35)
    np.testing.assert_allclose(smallest_step(values), [0.15])
    values[0, list(OTHERS).index("untrained"), 2] = 0.8
    np.testing.assert_allclose(smallest_step(values), [-0.1])


@pytest.fixture(scope="module")
def found():
    generator = torch.Generator().manual_seed(0)
    x, other = torch.randn(2, 600, 24, generator=generator)
    return summarised(x, x[:, :23] @ torch.randn(23, 24, generator=generator) + 0.1 * other, other, seed=0)


def test_every_summary_is_one_for_a_layer_against_itself_and_high_for_its_twin(found):
    assert min(found["itself"].values()) > 1 - 1e-6
    assert min(found["twin"].values()) > 0.9


def test_shuffled_rows_and_noise_are_at_chance_for_every_summary(found):
    assert all(found[name][key] < 0.4 for name in ("shuffled", "noise", "untrained") for key in SUMMARIES)


def test_the_same_seed_gives_the_same_noise(found):
    x, y = torch.randn(2, 200, 5, generator=torch.Generator().manual_seed(2))
    one, same, another = (summarised(x, y, y, seed) for seed in (3, 3, 4))
    assert one == same
    assert one["noise"] != another["noise"]
