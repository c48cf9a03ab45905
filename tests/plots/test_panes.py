"""Panes of layers against layers: which steps, and what each shows."""

import matplotlib
import numpy as np
import pytest

from svcca.plots.panes import plot_panes

matplotlib.use("Agg")

STEPS = np.array([0, 5, 10, 40, 1000])
VALUES = np.random.default_rng(0).random((5, 3, 3))


def panes(n_panes, layers=("a", "b", "c")):
    return plot_panes(VALUES, STEPS, n_panes, layers=layers, x_label="layers at the end", bar_label="svcca similarity")


def test_the_first_and_the_last_step_are_among_those_drawn():
    figure, axes = panes(3)
    assert [ax.get_title(loc="left") for ax in axes] == ["step 0", "step 10", "step 1,000"]
    for ax, index in zip(axes, (0, 2, 4), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), VALUES[index])
    assert figure.get_supxlabel() == "layers at the end"


@pytest.mark.parametrize(("n_panes", "drawn"), [(9, 5), (5, 5), (1, 1), (0, 1)])
def test_there_are_as_many_panes_as_asked_for_or_steps(n_panes, drawn):
    assert len(panes(n_panes)[1]) == drawn


def test_rows_are_named_at_the_first_pane_and_columns_at_every_one():
    figure, axes = panes(2)
    figure.draw_without_rendering()
    rows = [[label.get_text() for label in ax.get_yticklabels()] for ax in axes]
    assert [[text for text in texts if text] for texts in rows] == [["a", "b", "c"], []]
    assert [[label.get_text() for label in ax.get_xticklabels()] for ax in axes] == [["a", "b", "c"]] * 2


def test_colours_run_from_0_to_1_whatever_the_values():
    assert {ax.images[0].get_clim() for ax in panes(5)[1]} == {(0, 1)}
