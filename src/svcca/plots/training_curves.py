"""Lines over the steps of training, a line a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from svcca.plots.axes import list_beside, open_frame, write_title
from svcca.plots.colours import shades
from svcca.plots.figures import axes_or_new
from svcca.plots.text import elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES_IN_A_COLUMN = 12
"""Of the legend: longer columns would be higher than the axes."""


def plot_similarity_curves(
    steps: npt.NDArray[np.int64],
    curves: npt.NDArray[np.float64],
    chance: npt.NDArray[np.float64],
    *,
    layers: Sequence[str],
    y_label: str,
    title: str,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw a similarity of each layer over the steps; dark is near the input, the grey band is chance.

    Args:
        steps: Steps of training, ascending, (n_steps,).
        curves: Similarities, (n_steps, n_layers).
        chance: Their chance levels, likewise; the highest of each step is drawn.
        layers: Names of the layers, from the input on.
        y_label: What the similarity is.
        title: The title.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.2, 4.2)
    _draw_lines(ax, steps, layers, curves)
    if not np.isnan(chance).any():  # known
        ax.fill_between(steps, 0, chance.max(axis=1), color="grey", alpha=0.18, linewidth=0, label="chance")
    ax.set_ylim(min(0.0, 1.1 * float(curves.min())), 1.02)
    _finish(ax, y_label, title)
    return figure, ax


def plot_excess_curves(
    steps: npt.NDArray[np.int64],
    curves: npt.NDArray[np.float64],
    *,
    layers: Sequence[str],
    y_label: str,
    title: str,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw a share beyond chance of each layer over the steps; dark is near the input, the dashed line is chance.

    Chance is taken out of the share, so that noise is at 0 whatever the layer's rank; it falls below 0 as often.

    Args:
        steps: Steps of training, ascending, (n_steps,).
        curves: Shares, (n_steps, n_layers), at most 1.
        layers: Names of the layers, from the input on.
        y_label: What the share is.
        title: The title.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.2, 4.2)
    _draw_lines(ax, steps, layers, curves)
    ax.axhline(0, color="grey", linewidth=1.2, linestyle="--", label="chance", zorder=0)
    ax.set_ylim(min(-0.04, 1.1 * float(curves.min())), 1.02)
    _finish(ax, y_label, title)
    return figure, ax


def _draw_lines(ax: Axes, steps: npt.NDArray[np.int64], names: Sequence[str], curves: npt.NDArray[np.float64]) -> None:
    """Draw a line a layer, (n_steps, n_layers), from dark to light with depth."""
    for name, curve, colour in zip(names, curves.T, shades(len(names)), strict=True):
        ax.plot(steps, curve, color=colour, marker="o", markersize=2.5, linewidth=1.3, label=elide(name, 24))


def _finish(ax: Axes, y_label: str, title: str) -> None:
    """Name the axes, what is drawn and every line."""
    ax.set_xlabel("training step")
    ax.set_ylabel(y_label, parse_math=False)
    open_frame(ax)
    n_columns = -(-len(ax.get_legend_handles_labels()[1]) // LINES_IN_A_COLUMN)
    list_beside(ax, fontsize=7, title="input to output", title_fontsize=8, ncols=n_columns)
    write_title(ax, title)
