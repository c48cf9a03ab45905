"""Layers against layers at several steps of training, a pane a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from svcca.plots.axes import write_title
from svcca.plots.colours import COLOUR_MAP
from svcca.plots.figures import new_figure
from svcca.plots.text import GLYPH, elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME_SIZE = 6  # points
ROOM_FOR_NAME = 6  # characters of a column's name that a figure of 3.4 inches holds below its panes


def plot_panes(
    values: npt.NDArray[np.float64],
    steps: npt.NDArray[np.int64],
    n_panes: int,
    *,
    layers: Sequence[str],
    x_label: str,
    bar_label: str,
) -> tuple[Figure, npt.NDArray[Any]]:
    """Draw layers against layers at evenly chosen steps, the first and the last among them.

    Args:
        values: Similarities, (n_steps, n_layers, n_layers), in [0, 1].
        steps: Steps of training, ascending, (n_steps,).
        n_panes: How many steps to draw; all where there are fewer.
        layers: Names of the layers, from the input on.
        x_label: What the columns of every pane are.
        bar_label: What the colours are.

    Returns:
        The figure, and its axes as an array (n_panes,).
    """
    count = max(1, min(n_panes, len(steps)))
    chosen = np.unique(np.linspace(0, len(steps) - 1, count).round().astype(int))
    names = [elide(name, 18) for name in layers]
    beyond = max(0, max(map(len, names)) - ROOM_FOR_NAME)
    # Higher for long names: panes keep their shape, and would push their titles out of the figure.
    figure = new_figure(2.6 * len(chosen) + 1.6, 3.4 + beyond * NAME_SIZE * GLYPH)
    axes: npt.NDArray[Any] = figure.subplots(1, len(chosen), squeeze=False)[0]
    for ax, index in zip(axes, chosen, strict=True):
        image = ax.imshow(values[index], cmap=COLOUR_MAP, vmin=0, vmax=1, interpolation="nearest")
        write_title(ax, f"step {steps[index]:,}")
        _name_layers(ax, names, rows=ax is axes[0])
    axes[0].set_ylabel("layers at that step", fontsize=9)
    figure.supxlabel(x_label, fontsize=9)
    figure.colorbar(image, ax=list(axes), shrink=0.8).set_label(bar_label, parse_math=False)
    return figure, axes


def _name_layers(ax: Axes, names: Sequence[str], *, rows: bool) -> None:
    """Name the columns, and the rows too where they are the first pane's."""
    ax.set_xticks(range(len(names)), labels=names, fontsize=NAME_SIZE, rotation=90, parse_math=False)
    ax.set_yticks(range(len(names)), labels=names if rows else [], fontsize=NAME_SIZE, parse_math=False)
    ax.tick_params(length=0)
