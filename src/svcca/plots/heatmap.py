"""Similarities of every row layer with every column layer, as coloured cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.transforms import Bbox

from svcca.plots.axes import write_title
from svcca.plots.colours import COLOUR_MAP, colour_scale, ink_on
from svcca.plots.figures import bare_figure
from svcca.plots.text import GLYPH, POINT, elide, interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

# Sizes in inches. A cell holds "0.71" at 7 points from 0.31 on; two labels of 8 points need 0.16 between their lines.
CELLS_ACROSS = 7.0  # what the cells share between these two bounds
LARGEST_CELL, SMALLEST_CELL, CELL_WITH_VALUE = 0.62, 0.19, 0.31
BAR_HEIGHT = 1.5  # at least: its own label needs it
MARGIN = 0.12


def plot_heatmap(
    values: npt.NDArray[np.float64],
    chance: npt.NDArray[np.float64],
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    row_title: str,
    column_title: str,
    bar_label: str,
    title: str,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw a matrix of similarities as a heatmap.

    The first layers are at the top left, as in the table and on the page. Values are written in the cells where they
    can be read. The colour bar marks the chance level.

    Args:
        values: Similarities, (n_rows, n_columns).
        chance: Their chance levels, likewise.
        row_labels: Names of the row layers.
        column_labels: Names of the column layers.
        row_title: What the rows are.
        column_title: What the columns are.
        bar_label: What the colours are.
        title: The title.
        ax: Where to draw; by default a new figure that grows with the number of layers. In a notebook, or where pyplot
            is in use, that figure is pyplot's: the notebook displays it, `plt.show()` shows it. Any other program gets
            one that needs no display and is freed with its last reference.

    Returns:
        The figure and the axes drawn on.
    """
    n_rows, n_columns = values.shape
    scale = colour_scale(values, chance)
    if own := ax is None:
        # Square cells, and an inset for the colour bar: it is then as tall as they are, whatever the labels take.
        figure, ax, cell = _new_axes(n_rows, n_columns)
        width, height = n_columns * cell, n_rows * cell
        bar_height = max(1.0, BAR_HEIGHT / height)
        image = ax.imshow(values, cmap=COLOUR_MAP, norm=scale, interpolation="nearest")
        bar = figure.colorbar(image, cax=ax.inset_axes((1 + 0.42 / width, 1 - bar_height, 0.16 / width, bar_height)))
    else:
        # Fill what was given; the bar takes its room from it, since an inset would cover the next subplot.
        figure = ax.figure.figure
        image = ax.imshow(values, cmap=COLOUR_MAP, norm=scale, interpolation="nearest", aspect="auto")
        bar = ax.figure.colorbar(image, ax=ax, pad=0.12)
        extent = ax.get_window_extent()
        cell = min(extent.width / n_columns, extent.height / n_rows) / figure.dpi
    _name_layers(ax, row_labels, column_labels, cell)
    ax.set_xlabel(elide(column_title), parse_math=False)
    ax.set_ylabel(elide(row_title), parse_math=False)
    write_title(ax, title)
    _label_bar(bar, bar_label, chance)
    if cell >= CELL_WITH_VALUE:
        _write_values(ax, values, scale, size=min(10.0, 22 * cell))
    if own:
        _fit_figure(figure, ax)
    return figure, ax


def _new_axes(n_rows: int, n_columns: int) -> tuple[Figure, Axes, float]:
    """Make a figure that is filled by its axes; return both, and the side of a cell in inches."""
    cell = min(LARGEST_CELL, max(SMALLEST_CELL, CELLS_ACROSS / max(n_rows, n_columns)))
    figure = bare_figure(figsize=(n_columns * cell, n_rows * cell))
    return figure, figure.add_axes((0, 0, 1, 1)), cell


def _fit_figure(figure: Figure, ax: Axes) -> None:
    """Grow the figure around the axes by what labels, title and colour bar really take.

    A layout engine does the opposite: it keeps the figure and squeezes the cells, to nothing beside a long name.
    """
    figure.set_layout_engine("none")  # rcParams may have asked for one, which would warn about these axes
    inner = ax.get_window_extent().frozen()  # it would follow the figure's size
    outer = Bbox.union([inner, ax.get_tightbbox() or inner]).padded(MARGIN * figure.dpi)
    figure.set_size_inches(outer.width / figure.dpi, outer.height / figure.dpi)
    ax.set_position(
        (
            (inner.x0 - outer.x0) / outer.width,
            (inner.y0 - outer.y0) / outer.height,
            inner.width / outer.width,
            inner.height / outer.height,
        )
    )


def _label_size(cell: float) -> float:
    """Return the font size of the layers' names, in points: as large as the cells let neighbours be."""
    return min(9.0, max(6.0, 0.62 * cell / POINT))


def _fits(labels: Sequence[str], cell: float) -> bool:
    """Return whether the columns' names fit side by side."""
    return max(len(label) for label in labels) * _label_size(cell) * GLYPH < 0.95 * cell


def _name_layers(ax: Axes, row_labels: Sequence[str], column_labels: Sequence[str], cell: float) -> None:
    """Write the layers' names, in place of ticks and frame."""
    size = _label_size(cell)
    slanted: dict[str, Any] = (
        {} if _fits(column_labels, cell) else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    )
    columns, rows = ([elide(label) for label in labels] for labels in (column_labels, row_labels))
    ax.set_xticks(range(len(columns)), labels=columns, fontsize=size, parse_math=False, **slanted)
    ax.set_yticks(range(len(rows)), labels=rows, fontsize=size, parse_math=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _label_bar(bar: Colorbar, label: str, chance: npt.NDArray[np.float64]) -> None:
    """Label the colour bar on its right; mark the chance level, or its range, on its left."""
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.set_label(label, fontsize=9, parse_math=False)
    if np.isnan(chance).any():  # not known
        return
    low, high = float(chance.min()), float(chance.max())
    axes_then_data = bar.ax.get_yaxis_transform()
    bar.ax.plot([-0.35, -0.35], [low, high], transform=axes_then_data, color="black", linewidth=1.2, clip_on=False)
    for level in {low, high}:
        bar.ax.plot([-0.35, 0], [level, level], transform=axes_then_data, color="black", linewidth=1.2, clip_on=False)
    # Text starts where the mark does and runs towards the middle of the bar, so that it never leaves it.
    middle = (low + high) / 2
    in_lower_half = bar.norm(middle) < 0.5
    bar.ax.text(
        -0.6,
        low if in_lower_half else high,
        f"chance {interval(low, high)}",
        transform=axes_then_data,
        rotation=90,
        ha="right",
        va="bottom" if in_lower_half else "top",
        fontsize=8,
    )


def _write_values(ax: Axes, values: npt.NDArray[np.float64], scale: Normalize, size: float) -> None:
    """Write each value in its cell, in black or white after the cell's luminance."""
    colours = COLOUR_MAP(scale(values))
    for (row, column), value in np.ndenumerate(values):
        ink = ink_on(colours[row, column, :3])
        ax.text(column, row, number(value, 2), ha="center", va="center", fontsize=size, color=ink)
