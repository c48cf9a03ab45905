import copy

import numpy as np
import pytest
import torch
from reproduce.figures.fourier import (
    both_ways,
    circular,
    covariances,
    largest_difference,
    off_diagonal,
    resized,
    translations,
)
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore::svcca.SvccaWarning")  # few samples


def small_net(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers).double()


def some_images(n=40, size=4):
    images = torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return images.cumsum(dim=3)  # far from closed under translations


def test_energy_off_the_diagonal_is_a_share_of_squares():
    assert off_diagonal(np.diag([1.0, 2.0])) == 0
    assert off_diagonal([[3.0, 2.0], [2.0, 1.0]]) == 8 / 18


def test_translated_images_alone_are_diagonal_after_the_dft():
    found = {name: off_diagonal(matrix) for name, matrix in covariances(some_images()[:, 0]).items()}
    assert list(found) == ["pixels", "frequencies", "translated pixels", "translated frequencies"]
    assert found["translated frequencies"] < 1e-25
    assert min(share for name, share in found.items() if name != "translated frequencies") > 0.1


def test_all_translations_are_there_once():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    moved = translations(image)
    assert moved.shape == (12, 1, 3, 4)
    assert {int(each[0, 0, 0]) for each in moved} == set(range(12))


def test_both_ways_agree_for_circular_nets_and_differ_for_padded_ones():
    images = some_images()
    padded = [small_net(0), small_net(1)]
    around = [circular(copy.deepcopy(net)) for net in padded]
    assert both_ways(*around, images)["difference"] < 1e-10
    assert both_ways(*padded, images)["difference"] > 1e-3


def test_a_correlation_that_only_one_side_has_counts_in_full():
    assert largest_difference([0.9, 0.5], [0.9, 0.5]) == 0
    np.testing.assert_allclose(largest_difference([0.9, 0.5, 0.4], [0.8, 0.5]), 0.4)


def test_images_are_averaged_not_cut():
    np.testing.assert_allclose(resized(torch.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0], [[2.5, 4.5], [10.5, 12.5]])
