import numpy as np
import pytest
import torch
from reproduce.figures.directions_through_training import choose_sets, converged_at, held, movement_after

pytestmark = pytest.mark.filterwarnings("ignore::svcca.SvccaWarning")  # few samples


@pytest.fixture
def layers():
    """Rows of 3 000 images: the first three of eight units stay from early to the end, the others are drawn anew."""
    generator = torch.Generator().manual_seed(0)
    kept = torch.randn(3000, 3, generator=generator, dtype=torch.float64)
    return [
        torch.cat([kept, torch.randn(3000, 5, generator=generator, dtype=torch.float64)], 1)
        @ torch.randn(8, 8, generator=generator, dtype=torch.float64)
        for _ in range(3)
    ]


def test_directions_that_had_settled_are_held_later_and_the_others_are_not(layers):
    early, half, last = layers
    sets = choose_sets(early, half, 0.375, seed=0)
    assert {name: directions.shape for name, directions in sets.items()} == dict.fromkeys(sets, (8, 3))
    assert held(last, half, sets["settled"]) > 0.99
    assert abs(held(last, half, sets["unsettled"])) < 0.2
    assert 0.2 < held(last, half, sets["random"]) < 0.9


def test_the_layer_that_directions_belong_to_holds_all_of_them(layers):
    sets = choose_sets(*layers[:2], 0.25, seed=0)
    assert all(held(layers[1], layers[1], directions) > 1 - 1e-6 for directions in sets.values())


def test_directions_are_chosen_on_the_first_third_of_the_images_alone(layers):
    early, half, _ = layers
    shuffled = torch.cat([early[:1000], early[1000:].flip(0)])
    before, after = (choose_sets(first, half, 0.25, seed=0) for first in (early, shuffled))
    np.testing.assert_array_equal(before["settled"], after["settled"])


def test_chance_is_at_zero_even_with_few_images():
    x, y = torch.randn(2, 150, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    directions = choose_sets(x, y, 0.2, seed=0)["settled"]
    assert abs(held(x, y, directions)) < 0.25  # in-sample the mean over the fifth is above 0.7


def test_accuracy_has_converged_once_it_stays():
    assert converged_at([0.1, 0.6, 0.2, 0.59, 0.6], 0.02) == 3
    assert converged_at([0.6, 0.6, 0.6], 0.02) == 0
    assert converged_at([0.1, 0.2, 0.6], 0.02) == 2


def test_movement_counts_from_convergence_but_not_from_before_half_time():
    curve = [0.2, 0.5, 1.0, 0.9, 0.7]
    np.testing.assert_allclose(movement_after([curve, curve, curve], [1, 2, 3]), [0.3, 0.3, 0.2])
    assert movement_after([[0.5, 1.0, 1.0]], [1]) == 0
