"""The matplotlib heatmap: what it says, where it fits, and what it leaves behind."""

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from svcca.plots.heatmap import plot_heatmap

matplotlib.use("Agg")


def heatmap(values, chance=0.1, rows=None, columns=None, **options):
    values = np.asarray(values, dtype=float)
    names = {"row_labels": rows or [f"r{i}" for i in range(values.shape[0])]}
    names |= {"column_labels": columns or [f"c{j}" for j in range(values.shape[1])]}
    titles = {"row_title": "a", "column_title": "b", "bar_label": "svcca similarity", "title": "svcca, 1,000 samples"}
    return plot_heatmap(values, np.broadcast_to(chance, values.shape), **names | titles | options)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def tick_labels(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def colour_bar(ax):
    (bar,) = ax.child_axes
    return bar


def test_values_stand_in_the_cells_of_a_small_matrix():
    _, ax = heatmap([[0.123, 0.5], [1.0, 0.0]])
    assert texts(ax) == ["0.12", "0.50", "1.00", "0.00"]


def test_a_large_matrix_is_coloured_without_values():
    _, ax = heatmap(np.full((60, 60), 0.5))
    assert texts(ax) == []


def test_rows_and_columns_carry_their_layers_names_and_titles():
    _, ax = heatmap([[0.1, 0.2]], rows=["conv"], columns=["fc1", "fc2"], row_title="seed 0", column_title="seed 1")
    assert (tick_labels(ax.yaxis), tick_labels(ax.xaxis)) == (["conv"], ["fc1", "fc2"])
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("seed 0", "seed 1")


def test_the_first_layer_is_at_the_top():
    _, ax = heatmap(np.eye(3))
    bottom, top = ax.get_ylim()
    assert top < bottom


def test_title_and_colour_bar_say_what_they_are_told():
    _, ax = heatmap([[0.5]], title="pwcca, 20 samples", bar_label="pwcca similarity")
    assert ax.get_title(loc="left") == "pwcca, 20 samples"
    assert colour_bar(ax).get_ylabel() == "pwcca similarity"


@pytest.mark.parametrize(("chance", "label"), [(0.1, "chance 0.10"), ([[0.1, 0.234]], "chance 0.10–0.23")])
def test_the_chance_level_is_marked_on_the_colour_bar(chance, label):
    _, ax = heatmap([[0.5, 0.6]], chance=chance)
    bar = colour_bar(ax)
    assert texts(bar) == [label]
    heights = {float(y) for line in bar.lines for y in line.get_ydata()}
    assert heights >= {float(np.min(chance)), float(np.max(chance))}


@pytest.mark.parametrize("chance", [0.0, 0.05, 0.5, 0.95, 1.0, [[0.0, 1.0]]])
def test_the_chance_label_does_not_run_past_the_colour_bar(chance):
    figure, ax = heatmap([[0.5, 0.6]], chance=chance)
    figure.draw_without_rendering()
    bar = colour_bar(ax)
    label, whole = bar.texts[0].get_window_extent(), bar.get_window_extent()
    assert whole.y0 - 1 <= label.y0 <= label.y1 <= whole.y1 + 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (5, 5), (60, 60)])
def test_nothing_is_cut_off_or_overlaps_and_cells_are_square(shape):
    rows, columns = ([f"encoder.layer.{i}.output.dense" for i in range(n)] for n in shape)
    figure, ax = heatmap(np.full(shape, 0.5), rows=rows, columns=columns, row_title="x" * 40)
    figure.draw_without_rendering()
    whole, drawn = figure.bbox, ax.get_tightbbox()
    assert drawn.x0 >= whole.x0
    assert drawn.y0 >= whole.y0
    assert drawn.x1 <= whole.x1
    assert drawn.y1 <= whole.y1
    inner = ax.get_window_extent()
    assert inner.width / shape[1] == pytest.approx(inner.height / shape[0], rel=1e-6)
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))
    # Slanted neighbours collide when their lines are closer than the letters are high.
    size = ax.get_xticklabels()[0].get_fontsize() * figure.dpi / 72
    assert inner.width / shape[1] * np.sin(np.pi / 4) > size * 0.99


def test_names_are_drawn_as_written_even_where_they_look_like_formulas():
    name = r"$\frac{$ & a_b"
    figure, ax = heatmap([[0.5]], rows=[name], columns=[name], row_title=name, column_title=name)
    figure.draw_without_rendering()  # would raise on the formula
    assert tick_labels(ax.xaxis) == [name]


def test_given_axes_are_drawn_on_and_returned():
    parent = Figure(figsize=(9, 4))
    left, right = parent.subplots(1, 2)
    figure, ax = heatmap([[0.25, 0.5]], ax=right)
    assert (figure, ax) == (parent, right)
    assert texts(right) == ["0.25", "0.50"]
    assert (len(left.images), parent.get_size_inches().tolist()) == (0, [9.0, 4.0])


def test_small_given_axes_are_drawn_without_values():
    ax = Figure(figsize=(2, 2)).add_subplot()
    heatmap(np.full((10, 10), 0.5), ax=ax)
    assert texts(ax) == []


def test_names_on_small_given_axes_shrink_until_they_do_not_overlap():
    figure = Figure(figsize=(6, 6))
    ax = figure.add_subplot()
    heatmap(np.full((40, 40), 0.5), ax=ax)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def test_axes_in_a_subfigure_return_the_whole_figure():
    parent = Figure()
    ax = parent.subfigures(1, 2)[0].add_subplot()
    figure, _ = heatmap([[0.5]], ax=ax)
    assert figure is parent


@pytest.mark.parametrize("setting", ["figure.constrained_layout.use", "figure.autolayout"])
def test_the_readers_layout_settings_neither_move_the_cells_nor_warn(setting):
    with matplotlib.rc_context({setting: True}):
        figure, ax = heatmap(np.eye(4))
        before = ax.get_window_extent().bounds
        figure.draw_without_rendering()
    assert ax.get_window_extent().bounds == pytest.approx(before)


def test_the_values_are_left_as_they_were():
    values = np.array([[0.5, 0.25]])
    heatmap(values)
    assert values.tolist() == [[0.5, 0.25]]


def test_no_text_is_parsed_as_a_formula():
    figure, _ = heatmap([[0.5]], row_title="$a$", column_title="$b$", rows=["$c$"], columns=["$d$"])
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())
