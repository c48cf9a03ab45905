"""Filters: the channel that is drawn, what stands above it, and its colours."""

import matplotlib
import numpy as np

from svcca.plots.filters import plot_filters

matplotlib.use("Agg")


def test_the_channel_with_the_largest_entry_is_drawn_on_colours_symmetric_about_0():
    filters = np.zeros((2, 3, 2, 2))
    filters[0, 1, 0, 1], filters[0, 2, 0, 0] = -3.0, 2.0
    filters[1, 0, 1, 1] = 0.5
    figure, axes = plot_filters({"x": filters}, np.array([0.9, 0.123456]), np.array([[0, -1], [2, 3]]))
    assert [ax.get_xlabel() for ax in axes[0]] == ["channel 1", "channel 0"]
    np.testing.assert_array_equal(axes[0, 0].images[0].get_array(), filters[0, 1])
    assert [ax.images[0].get_clim() for ax in axes[0]] == [(-3.0, 3.0), (-0.5, 0.5)]
    assert [ax.get_title() for ax in axes[0]] == ["ρ 0.900\nat (0, -1)", "ρ 0.123\nat (2, 3)"]
    figure.canvas.draw()


def test_rows_carry_the_names_of_their_sides_and_titles_stand_above_the_first_alone():
    filters = np.ones((2, 1, 3, 2))
    _, axes = plot_filters({"x": filters, "y": filters}, np.array([0.9, 0.8]), np.array([[0, 1], [1, 0]]))
    assert [row[0].get_ylabel() for row in axes] == ["x", "y"]
    assert [bool(ax.get_title()) for ax in axes.ravel()] == [True, True, False, False]
