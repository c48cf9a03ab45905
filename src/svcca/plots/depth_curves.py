"""Lines over the depth of a network, a line a class, and what noise would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

from svcca.plots.axes import list_beside, open_frame, write_title
from svcca.plots.figures import axes_or_new
from svcca.plots.text import elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_depth_curves(
    values: npt.NDArray[np.float64],
    chance: npt.NDArray[np.float64],
    *,
    layers: Sequence[str],
    classes: Sequence[str],
    y_label: str,
    title: str,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw each class's similarity to every layer, in order of depth; grey is the chance level.

    Args:
        values: Similarities, (n_layers, n_classes), at most 1.
        chance: Their chance levels, likewise, or NaN; the highest of each layer is drawn.
        layers: Names of the layers.
        classes: Names of the classes.
        y_label: What the similarity is.
        title: The title.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.2, 4.2)
    depth = np.arange(len(layers))
    for name, curve, colour in zip(classes, values.T, _colours(len(classes)), strict=True):
        ax.plot(depth, curve, color=colour, marker="o", markersize=3, linewidth=1.3, label=elide(name, 24))
    if not np.isnan(chance).any():  # known
        ax.fill_between(depth, 0, chance.max(axis=1), color="grey", alpha=0.18, linewidth=0, label="chance")
    labels = [elide(name, 24) for name in layers]
    ax.set_xticks(depth, labels=labels, rotation=45, ha="right", fontsize=8, parse_math=False)
    ax.set_ylabel(y_label, parse_math=False)
    ax.set_ylim(min(0.0, 1.1 * float(values.min())), 1.02)
    open_frame(ax)
    list_beside(ax, fontsize=7)
    write_title(ax, title)
    return figure, ax


def _colours(count: int) -> npt.NDArray[np.float64]:
    """Return colours for classes, which have no order, (count, 4)."""
    colours: npt.NDArray[np.float64] = (
        colormaps["tab10"](np.arange(count)) if count <= 10 else colormaps["turbo"](np.linspace(0, 1, count))
    )
    return colours
