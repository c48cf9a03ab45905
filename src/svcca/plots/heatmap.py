"""The matrix as a matplotlib figure, and the colours that the figure and the page share."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar

    from svcca.compare.result import SimilarityMatrix

COLOUR_MAP = colormaps["viridis"]
"""Perceptually uniform, ordered by lightness: it survives a grey printer and the common colour blindnesses."""

ROUNDING = 1e-9
"""How far past 0 or 1 a value is still rounding, and does not widen the colour scale."""

# Sizes in inches. A cell holds "0.71" at 7 points from 0.31 on; two labels of 8 points need 0.16 between their lines.
CELLS_ACROSS = 7.0  # what the cells share between these two bounds
LARGEST_CELL, SMALLEST_CELL, CELL_WITH_VALUE = 0.62, 0.19, 0.31
BAR_HEIGHT = 1.5  # at least: its own label needs it
MARGIN = 0.12
POINT = 1 / 72
GLYPH = 0.65 * POINT  # width of a character per point of font size, on the wide side
LONGEST_LABEL = 48  # characters


def colour_scale(matrix: SimilarityMatrix) -> Normalize:
    """Scale on which the matrix is coloured: 0 to 1, so that figures compare; wider only where the numbers are.

    Negative numbers make it symmetric about 0.
    """
    numbers = np.concatenate([matrix.values.ravel(), matrix.chance.ravel()])
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))  # a chance level that is not known is NaN
    high = 1.0 if high <= 1 + ROUNDING else high
    if low >= -ROUNDING:
        return Normalize(0.0, high, clip=True)
    furthest = max(high, -low)
    return Normalize(-furthest, furthest, clip=True)


def ink_on(rgb: npt.NDArray[np.float64]) -> str:
    """Black or white, whichever has the higher WCAG contrast on a colour given as sRGB in [0, 1]."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    # (1 + 0.05) / (L + 0.05) against (L + 0.05) / (0 + 0.05): the two meet at L = sqrt(0.0525) - 0.05.
    return "black" if luminance > 0.0525**0.5 - 0.05 else "white"


def elide(label: str, longest: int = LONGEST_LABEL) -> str:
    """Shorten a label from its middle: both ends of a layer's name tell layers apart.

    >>> elide("encoder.layer.11.attention.output.dense", 20)
    'encoder.la…put.dense'
    """
    if len(label) <= longest:
        return label
    head = longest // 2
    return f"{label[:head]}…{label[len(label) - (longest - head - 1) :]}"


def number(value: float, digits: int) -> str:
    """Format a number to fixed digits, without the "-0.00" of a rounding error."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def interval(low: float, high: float, digits: int = 2) -> str:
    """Format a range, or one number where the ends print alike."""
    ends = number(low, digits), number(high, digits)
    return ends[0] if ends[0] == ends[1] else "–".join(ends)


def heatmap(matrix: SimilarityMatrix, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw a similarity matrix as a heatmap.

    The first layers are at the top left, as in the table and on the page. Values are written in the cells where they
    can be read. The colour bar names the measure and marks the chance level.

    Args:
        matrix: What to draw.
        ax: Where to draw; by default a new figure that grows with the number of layers. In a notebook, or where pyplot
            is in use, that figure is pyplot's: the notebook displays it, `plt.show()` shows it. Any other program gets
            one that needs no display and is freed with its last reference.

    Returns:
        The figure and the axes drawn on.
    """
    n_rows, n_columns = matrix.values.shape
    scale = colour_scale(matrix)
    if own := ax is None:
        # Square cells, and an inset for the colour bar: it is then as tall as they are, whatever the labels take.
        figure, ax, cell = _new_axes(n_rows, n_columns)
        width, height = n_columns * cell, n_rows * cell
        bar_height = max(1.0, BAR_HEIGHT / height)
        image = ax.imshow(matrix.values, cmap=COLOUR_MAP, norm=scale, interpolation="nearest")
        bar = figure.colorbar(image, cax=ax.inset_axes((1 + 0.42 / width, 1 - bar_height, 0.16 / width, bar_height)))
    else:
        # Fill what was given; the bar takes its room from it, since an inset would cover the next subplot.
        figure = ax.figure.figure
        image = ax.imshow(matrix.values, cmap=COLOUR_MAP, norm=scale, interpolation="nearest", aspect="auto")
        bar = ax.figure.colorbar(image, ax=ax, pad=0.12)
        extent = ax.get_window_extent()
        cell = min(extent.width / n_columns, extent.height / n_rows) / figure.dpi
    _label_axes(matrix, ax, cell)
    _label_bar(matrix, bar)
    if cell >= CELL_WITH_VALUE:
        _write_values(matrix, ax, scale, size=min(10.0, 22 * cell))
    if own:
        _fit_figure(figure, ax)
    return figure, ax


def _new_axes(n_rows: int, n_columns: int) -> tuple[Figure, Axes, float]:
    """Make a figure that is filled by its axes; returns both, and the side of a cell in inches."""
    cell = min(LARGEST_CELL, max(SMALLEST_CELL, CELLS_ACROSS / max(n_rows, n_columns)))
    figure = _figure(figsize=(n_columns * cell, n_rows * cell))
    return figure, figure.add_axes((0, 0, 1, 1)), cell


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of this size in inches that lays its axes out by itself."""
    return _figure(figsize=(width, height), layout="constrained", dpi=120)


def axes_or_new(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Give the axes and their figure, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax.figure.figure, ax
    figure = new_figure(width, height)
    return figure, figure.subplots()


def _figure(**options: Any) -> Figure:
    if _shows_pyplot_figures():
        from matplotlib import pyplot

        return pyplot.figure(**options)
    return Figure(**options)


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


def _shows_pyplot_figures() -> bool:
    """Tell whether someone will look for the figure in pyplot.

    A notebook displays pyplot's open figures at the end of a cell (and closes them), and nothing of a bare Figure
    inside the returned tuple; `plt.show()` likewise knows only pyplot's. Elsewhere pyplot would keep every figure alive
    until it is closed, which a program that draws a hundred checkpoints does not expect.
    """
    ipython = sys.modules.get("IPython")
    return "matplotlib.pyplot" in sys.modules or (ipython is not None and ipython.get_ipython() is not None)


def _label_size(cell: float) -> float:
    """Font size of the layers' names, in points: as large as the cells let neighbours be."""
    return min(9.0, max(6.0, 0.62 * cell / POINT))


def _fits(labels: tuple[str, ...], cell: float) -> bool:
    """Tell whether the columns' names fit side by side."""
    return max(len(label) for label in labels) * _label_size(cell) * GLYPH < 0.95 * cell


def _label_axes(matrix: SimilarityMatrix, ax: Axes, cell: float) -> None:
    """Write the layers' names, what the two axes are, and the title.

    Names are anyone's text: `parse_math` is off throughout, or "a$b$" would be set as a formula, or fail to be.
    """
    size = _label_size(cell)
    slanted: dict[str, Any] = (
        {} if _fits(matrix.column_labels, cell) else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    )
    columns = [elide(label) for label in matrix.column_labels]
    rows = [elide(label) for label in matrix.row_labels]
    ax.set_xticks(range(len(columns)), labels=columns, fontsize=size, parse_math=False, **slanted)
    ax.set_yticks(range(len(rows)), labels=rows, fontsize=size, parse_math=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(elide(matrix.column_title), parse_math=False)
    ax.set_ylabel(elide(matrix.row_title), parse_math=False)
    ax.set_title(f"{matrix.measure}, {matrix.n_samples:,} samples", loc="left", fontsize=10, parse_math=False)


def _label_bar(matrix: SimilarityMatrix, bar: Colorbar) -> None:
    """Name the measure on the colour bar's right; mark the chance level, or its range, on its left."""
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.set_label(f"{matrix.measure} similarity", fontsize=9, parse_math=False)
    if np.isnan(matrix.chance).any():
        return
    low, high = float(matrix.chance.min()), float(matrix.chance.max())
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


def _write_values(matrix: SimilarityMatrix, ax: Axes, scale: Normalize, size: float) -> None:
    """Write each value in its cell, in black or white after the cell's luminance."""
    colours = COLOUR_MAP(scale(matrix.values))
    for (row, column), value in np.ndenumerate(matrix.values):
        ink = ink_on(colours[row, column, :3])
        ax.text(column, row, number(value, 2), ha="center", va="center", fontsize=size, color=ink)
