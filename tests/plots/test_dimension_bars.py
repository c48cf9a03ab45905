"""Bars of dimensions: the axis can be read whatever the widths are."""

import itertools

import matplotlib
import pytest

from svcca.plots.dimension_bars import plot_dimension_bars

matplotlib.use("Agg")


def bars(widths, layers=("a.long.name.of.some.layer.in.the.model", "b"), needed=(3, None)):
    ranks, labels = [width // 2 for width in widths], {"kept_label": "99%", "needed_label": "enough", "title": "net"}
    return plot_dimension_bars(layers, widths, ranks, needed, **labels)


@pytest.mark.parametrize("width", [1, 2, 3, 15, 16, 60, 300, 4096, 60_000, 2**20])
def test_numbers_on_the_axis_do_not_run_into_each_other(width):
    figure, ax = bars([width, 1])
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    assert len(boxes) >= 2
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def test_numbers_on_the_axis_are_powers_of_2_and_what_they_say():
    figure, ax = bars([300, 1])
    figure.draw_without_rendering()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "4", "16", "64", "256"]
    assert ax.get_xticks().tolist() == [0, 1, 4, 16, 64, 256]


def test_a_layer_where_nothing_was_measured_has_no_mark():
    (marks,) = bars([16, 8])[1].lines
    assert (marks.get_xdata().tolist(), marks.get_ydata().tolist()) == ([3], [0])
    assert list(bars([16, 8], needed=(None, None))[1].lines) == []
