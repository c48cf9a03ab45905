"""The matplotlib heatmap: what it says, where it fits, and what it leaves behind."""

import itertools
import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from svcca.compare.result import LayerSummary, SimilarityMatrix
from svcca.plots.heatmap import colour_scale, elide, heatmap, ink_on, interval, number

matplotlib.use("Agg")


def matrix_of(values, chance=0.1, rows=None, columns=None, **options):
    values = np.asarray(values, dtype=float)
    labels = [rows or [f"r{i}" for i in range(values.shape[0])], columns or [f"c{j}" for j in range(values.shape[1])]]
    row_layers, column_layers = (tuple(LayerSummary(name, 8, 4, "flatten") for name in names) for names in labels)
    chance = np.broadcast_to(chance, values.shape)
    return SimilarityMatrix(values, row_layers, column_layers, "svcca", 0.99, 1000, chance, **options)


@pytest.fixture(autouse=True)
def _without_pyplot(monkeypatch):
    """As in a program that never imported it; whoever did before these tests keeps it."""
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def tick_labels(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def pyplot_figures():
    from matplotlib import pyplot

    return pyplot.get_fignums()


def colour_bar(ax):
    (bar,) = ax.child_axes
    return bar


def test_values_stand_in_the_cells_of_a_small_matrix():
    _, ax = heatmap(matrix_of([[0.123, 0.5], [1.0, 0.0]]))
    assert texts(ax) == ["0.12", "0.50", "1.00", "0.00"]


def test_a_large_matrix_is_coloured_without_values():
    _, ax = heatmap(matrix_of(np.full((60, 60), 0.5)))
    assert texts(ax) == []


def test_rows_and_columns_carry_their_layers_names_and_titles():
    _, ax = heatmap(
        matrix_of([[0.1, 0.2]], rows=["conv"], columns=["fc1", "fc2"], row_title="seed 0", column_title="seed 1")
    )
    assert (tick_labels(ax.yaxis), tick_labels(ax.xaxis)) == (["conv"], ["fc1", "fc2"])
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("seed 0", "seed 1")


def test_the_first_layer_is_at_the_top():
    _, ax = heatmap(matrix_of(np.eye(3)))
    bottom, top = ax.get_ylim()
    assert top < bottom


def test_title_and_colour_bar_name_the_measure():
    _, ax = heatmap(matrix_of([[0.5]]))
    assert ax.get_title(loc="left") == "svcca, 1,000 samples"
    assert colour_bar(ax).get_ylabel() == "svcca similarity"


@pytest.mark.parametrize(("chance", "label"), [(0.1, "chance 0.10"), ([[0.1, 0.234]], "chance 0.10–0.23")])
def test_the_chance_level_is_marked_on_the_colour_bar(chance, label):
    _, ax = heatmap(matrix_of([[0.5, 0.6]], chance=chance))
    bar = colour_bar(ax)
    assert texts(bar) == [label]
    heights = {float(y) for line in bar.lines for y in line.get_ydata()}
    assert heights >= {float(np.min(chance)), float(np.max(chance))}


@pytest.mark.parametrize("chance", [0.0, 0.05, 0.5, 0.95, 1.0, [[0.0, 1.0]]])
def test_the_chance_label_does_not_run_past_the_colour_bar(chance):
    figure, ax = heatmap(matrix_of([[0.5, 0.6]], chance=chance))
    figure.draw_without_rendering()
    bar = colour_bar(ax)
    label, whole = bar.texts[0].get_window_extent(), bar.get_window_extent()
    assert whole.y0 - 1 <= label.y0 <= label.y1 <= whole.y1 + 1


def test_the_scale_runs_from_0_to_1_whatever_the_values():
    scale = colour_scale(matrix_of([[0.4, 0.6]]))
    assert (scale.vmin, scale.vmax) == (0.0, 1.0)


def test_rounding_past_0_or_1_does_not_widen_the_scale():
    scale = colour_scale(matrix_of([[-1e-12, 1 + 1e-12]]))
    assert (scale.vmin, scale.vmax) == (0.0, 1.0)


def test_negative_values_make_the_scale_symmetric():
    assert (colour_scale(matrix_of([[-0.2, 0.5]])).vmin, colour_scale(matrix_of([[-2.0, 0.5]])).vmax) == (-1.0, 2.0)


def test_values_beyond_1_widen_the_scale():
    assert colour_scale(matrix_of([[0.5, 3.0]])).vmax == 3.0


def test_writing_in_a_cell_has_a_contrast_of_4_5_on_every_colour():
    for colour in matplotlib.colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        luminance = float(linear @ [0.2126, 0.7152, 0.0722])
        contrast = (luminance + 0.05) / 0.05 if ink_on(colour) == "black" else 1.05 / (luminance + 0.05)
        assert contrast >= 4.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (5, 5), (60, 60)])
def test_nothing_is_cut_off_or_overlaps_and_cells_are_square(shape):
    rows, columns = ([f"encoder.layer.{i}.output.dense" for i in range(n)] for n in shape)
    figure, ax = heatmap(matrix_of(np.full(shape, 0.5), rows=rows, columns=columns, row_title="x" * 40))
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
    figure, ax = heatmap(matrix_of([[0.5]], rows=[name], columns=[name], row_title=name, column_title=name))
    figure.draw_without_rendering()  # would raise on the formula
    assert tick_labels(ax.xaxis) == [name]


def test_without_pyplot_the_figure_is_nobodys_but_the_callers():
    figure, _ = heatmap(matrix_of([[0.5]]))
    assert type(figure) is Figure
    assert pyplot_figures() == []


def test_where_pyplot_is_in_use_show_finds_the_figure(monkeypatch):
    from matplotlib import pyplot

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
    figure, _ = heatmap(matrix_of([[0.5]]))
    assert pyplot.gcf() is figure
    pyplot.close(figure)


def test_a_notebook_finds_the_figure_without_having_imported_pyplot(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    figure, _ = heatmap(matrix_of([[0.5]]))
    from matplotlib import pyplot

    assert pyplot.gcf() is figure
    pyplot.close(figure)


def test_ipython_installed_but_not_running_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    heatmap(matrix_of([[0.5]]))
    assert pyplot_figures() == []


def test_importing_the_library_does_not_import_matplotlib_or_jinja():
    code = "import sys, svcca, svcca.compare.result; print({'matplotlib', 'jinja2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_given_axes_are_drawn_on_and_returned():
    parent = Figure(figsize=(9, 4))
    left, right = parent.subplots(1, 2)
    figure, ax = heatmap(matrix_of([[0.25, 0.5]]), ax=right)
    assert (figure, ax) == (parent, right)
    assert texts(right) == ["0.25", "0.50"]
    assert (len(left.images), parent.get_size_inches().tolist()) == (0, [9.0, 4.0])


def test_small_given_axes_are_drawn_without_values():
    ax = Figure(figsize=(2, 2)).add_subplot()
    heatmap(matrix_of(np.full((10, 10), 0.5)), ax=ax)
    assert texts(ax) == []


def test_names_on_small_given_axes_shrink_until_they_do_not_overlap():
    figure = Figure(figsize=(6, 6))
    ax = figure.add_subplot()
    heatmap(matrix_of(np.full((40, 40), 0.5)), ax=ax)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def test_axes_in_a_subfigure_return_the_whole_figure():
    parent = Figure()
    ax = parent.subfigures(1, 2)[0].add_subplot()
    figure, _ = heatmap(matrix_of([[0.5]]), ax=ax)
    assert figure is parent


@pytest.mark.parametrize("setting", ["figure.constrained_layout.use", "figure.autolayout"])
def test_the_readers_layout_settings_neither_move_the_cells_nor_warn(setting):
    with matplotlib.rc_context({setting: True}):
        figure, ax = heatmap(matrix_of(np.eye(4)))
        before = ax.get_window_extent().bounds
        figure.draw_without_rendering()
    assert ax.get_window_extent().bounds == pytest.approx(before)


def test_the_matrix_is_left_as_it_was():
    matrix = matrix_of([[0.5, 0.25]])
    heatmap(matrix)
    assert matrix.values.tolist() == [[0.5, 0.25]]


def test_no_text_is_parsed_as_a_formula():
    figure, _ = heatmap(matrix_of([[0.5]], row_title="$a$", column_title="$b$", rows=["$c$"], columns=["$d$"]))
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())


def test_a_long_name_is_shortened_from_its_middle():
    assert elide("a" * 30 + "b" * 30, 11) == "aaaaa…bbbbb"
    assert elide("short", 11) == "short"


def test_numbers_have_no_negative_zero():
    assert (number(-1e-9, 2), number(-0.456, 2)) == ("0.00", "-0.46")


def test_a_range_that_prints_alike_is_one_number():
    assert (interval(0.101, 0.102), interval(0.1, 0.2)) == ("0.10", "0.10–0.20")
