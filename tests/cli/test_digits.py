import numpy as np
import pytest
import torch
from torch import nn

from svcca.cli import digits


@pytest.fixture(scope="module")
def result():
    return digits.run(progress=False)


def test_both_nets_read_nine_of_ten_unseen_digits(result):
    assert min(result.accuracies) > 0.9


def test_each_block_is_most_similar_to_its_twin_more_often_than_chance(result):
    hits, total = result.matrix.twin_matches()
    assert total == 4
    assert hits > 1  # among four blocks, unrelated nets would have one


def test_the_nets_are_two_and_not_one(result):
    assert np.all(result.matrix.values < 1 - 1e-3)
    assert np.all(result.matrix.values > result.matrix.chance)


def test_the_result_says_what_it_is(result):
    matrix = result.matrix
    assert matrix.row_labels == matrix.column_labels == ("block1", "block2", "block3", "block4")
    assert (matrix.row_title, matrix.column_title, matrix.command) == ("seed 0", "seed 1", "svcca demo")
    assert matrix.n_samples == 1797 * 64
    (remark,) = matrix.warnings
    assert "115,008 rows come from 1,797 inputs" in remark.text
    assert "counting only the inputs it would be up to 0.12" in remark.text


def test_two_runs_give_the_same_numbers(monkeypatch):
    monkeypatch.setattr(digits, "EPOCHS", 2)
    state = torch.get_rng_state()
    first, second = digits.run(progress=False), digits.run(progress=False)
    assert first.matrix.values.tobytes() == second.matrix.values.tobytes()
    assert first.accuracies == second.accuracies
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_come_from_the_seed_alone(monkeypatch):
    monkeypatch.setattr(digits, "EPOCHS", 1)
    data = digits.load_digits()
    nets = []
    for outer, seed in ((1, 0), (2, 0), (2, 1)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(outer)
            nets.append(digits.train(data, seed, progress=False))
    first, again, other = (nn.utils.parameters_to_vector(net.parameters()) for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_digits_are_split_without_overlap_and_scaled():
    data = digits.load_digits()
    assert (len(data.train_images), len(data.test_images)) == (1200, 597)
    images = torch.cat([data.train_images, data.test_images])
    assert images.shape == (1797, 1, 8, 8)
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    assert len(data.train_labels) == 1200
    assert set(data.test_labels.tolist()) == set(range(10))
