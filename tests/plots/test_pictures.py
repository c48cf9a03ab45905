"""What every picture does alike: anyone's names as written, nothing cut off, the caller's axes left to the caller."""

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from svcca.plots.depth_curves import plot_depth_curves
from svcca.plots.dimension_bars import plot_dimension_bars
from svcca.plots.direction_curves import plot_direction_curves, plot_unit_curves
from svcca.plots.freezing_bars import plot_freezing_bars
from svcca.plots.frequency_map import plot_frequency_map
from svcca.plots.heatmap import plot_heatmap
from svcca.plots.panes import plot_panes
from svcca.plots.size_curves import plot_size_curves
from svcca.plots.training_curves import plot_excess_curves, plot_similarity_curves

matplotlib.use("Agg")

LONG = "encoder.layer.11.attention.output.dense.of.a.very.large.model"
FORMULA = r"$\frac{$ & a_b"  # would raise when parsed
STEPS, SQUARE = np.array([0, 10, 100]), np.array([[0.1, 0.5], [0.2, 0.9], [0.4, 1.0]])
SIZES = {"unprojected": 0.9, "n_features": 8}

PICTURES = {
    "heatmap": lambda names, **ax: plot_heatmap(
        SQUARE[:2],
        SQUARE[:2] / 9,
        row_labels=names,
        column_labels=names,
        row_title=names[0],
        column_title=names[0],
        bar_label=names[0],
        title=names[0][:20],
        **ax,
    ),
    "similarity curves": lambda names, **ax: plot_similarity_curves(
        STEPS, SQUARE, SQUARE / 9, layers=names, y_label=names[0][:20], title=names[0], **ax
    ),
    "excess curves": lambda names, **ax: plot_excess_curves(
        STEPS, SQUARE, layers=names, y_label=names[0][:20], title=names[0], **ax
    ),
    "depth curves": lambda names, **ax: plot_depth_curves(
        SQUARE[:2], SQUARE[:2] / 9, layers=names, classes=names, y_label=names[0][:20], title=names[0], **ax
    ),
    "size curves": lambda names, **ax: plot_size_curves(
        names, [10, 20], [0.5, 0.6], original=(30, 0.7), title=names[0], **ax
    ),
    "direction curves": lambda names, **ax: plot_direction_curves(
        STEPS, SQUARE.T, kinds=names, title=names[0], **SIZES, **ax
    ),
    "unit curves": lambda names, **ax: plot_unit_curves(
        STEPS, SQUARE.T, SQUARE[:, 0], n_units=np.array([2, 4]), title=names[0], **SIZES, **ax
    ),
    "freezing bars": lambda names, **ax: plot_freezing_bars(
        names, [3, 8], n_steps=8, total_steps=9, title=names[0], **ax
    ),
    "dimension bars": lambda names, **ax: plot_dimension_bars(
        names, [9, 9000], [5, 50], [3, None], kept_label="99%", needed_label=names[0][:20], title=names[0], **ax
    ),
    "panes": lambda names: plot_panes(
        np.stack([SQUARE[:2]] * 3), STEPS, 3, layers=names, x_label="layers at the end", bar_label=names[0][:20]
    ),
    "frequency map": lambda names, **ax: plot_frequency_map(SQUARE, similarity=0.5, chance=0.1, **ax),
    "frequency line": lambda names, **ax: plot_frequency_map(SQUARE[0], similarity=0.5, chance=0.1, **ax),
}
every_picture = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


@every_picture
def test_no_name_is_parsed_as_a_formula(picture):
    figure, _ = picture([FORMULA, "$c$"])
    figure.draw_without_rendering()
    written = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert not any(text.get_parse_math() for text in written)


@every_picture
def test_nothing_is_cut_off_beside_long_names(picture):
    figure, _ = picture([LONG, LONG + ".2"])
    figure.draw_without_rendering()
    drawn, whole = figure.get_tightbbox(), figure.bbox_inches
    assert drawn.x0 >= -0.01
    assert drawn.y0 >= -0.01
    assert drawn.x1 <= whole.x1 + 0.01
    assert drawn.y1 <= whole.y1 + 0.01


@pytest.mark.parametrize("name", [name for name in PICTURES if name != "panes"])
def test_given_axes_are_drawn_on_and_the_next_ones_left_alone(name):
    parent = Figure(figsize=(12, 5))
    left, right = parent.subplots(1, 2)
    figure, ax = PICTURES[name](["a", "b"], ax=right)
    assert (figure, ax) == (parent, right)
    assert right.has_data()
    assert not left.has_data()
    assert parent.get_size_inches().tolist() == [12.0, 5.0]
