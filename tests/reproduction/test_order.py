import numpy as np
import pytest
from reproduce.layers import CONV_HIDDEN, conv_depths, residual_depths, residual_hidden
from reproduce.nets import conv_net, residual_net
from reproduce.order import bottom_up, from_their_start, rank_correlation, time_apart

STEPS = np.array([0, 10, 20, 40])


def rising(times, start=0.2):
    """One curve a layer, from its start to 1 at its own time."""
    return np.stack([np.interp(STEPS, [0, time], [start, 1.0]) for time in times], axis=1)


def test_layers_that_converge_later_the_deeper_they_lie_are_bottom_up():
    assert bottom_up(rising([5, 15, 25, 35]), STEPS) == pytest.approx(1)
    assert bottom_up(rising([35, 25, 15, 5]), STEPS) == pytest.approx(-1)


def test_layers_that_converge_together_are_in_no_order():
    assert bottom_up(rising([20, 20, 20]), STEPS) == 0


def test_time_apart_counts_steps_by_their_distance():
    curves = np.array([[0.0], [1.0], [1.0], [1.0]])
    assert time_apart(curves, STEPS)[0] == pytest.approx(0.5 * 10 / 40)


def test_a_head_start_is_bottom_up_only_until_it_is_taken_out():
    times, starts = [20, 20, 20], [0.9, 0.5, 0.1]
    curves = np.concatenate([rising([time], start) for time, start in zip(times, starts, strict=True)], axis=1)
    assert bottom_up(curves, STEPS) == pytest.approx(1)
    np.testing.assert_allclose(from_their_start(curves)[0], 0, atol=1e-12)
    np.testing.assert_allclose(np.ptp(from_their_start(curves), axis=1), 0, atol=1e-12)


def test_a_layer_that_starts_at_its_end_stays_there():
    np.testing.assert_allclose(from_their_start(np.ones((4, 1))), 1)


def test_a_constant_orders_nothing():
    assert rank_correlation([1, 2, 3], [5, 5, 5]) == 0
    assert rank_correlation([1, 2, 3], [1, 4, 9]) == pytest.approx(1)


def test_depths_rise_and_fall_short_of_the_output():
    for depths, names in ((conv_depths(), CONV_HIDDEN), (residual_depths(2), residual_hidden(2))):
        assert len(depths) == len(names)
        assert (np.diff(depths) > 0).all()
        assert depths[0] > 0
        assert depths[-1] < 1


def test_the_depth_of_a_layer_counts_layers_with_weights():
    # conv1, five blocks of two in each of three groups, fc, out: the paper's net.
    assert residual_depths(5)[[0, 1, -2, -1]] * 33 == pytest.approx([1, 3, 31, 32])


def test_hidden_layers_are_modules_of_the_nets():
    assert set(CONV_HIDDEN) <= {name for name, _ in conv_net(4).named_children()}
    assert set(residual_hidden(2)) <= {name for name, _ in residual_net(4, blocks=2).named_children()}
