"""Class sensitivity over depth: a line a class, and what noise would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps

from svcca.plots.heatmap import axes_or_new, elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from svcca.compare.classes import ClassSensitivity


def plot_classes(sensitivity: ClassSensitivity, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw each class's correlation with every layer, in order of depth; grey is the chance level.

    Args:
        sensitivity: What to draw.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.2, 4.2)
    depth = np.arange(len(sensitivity.layers))
    count = len(sensitivity.classes)
    shades = colormaps["tab10"](np.arange(count)) if count <= 10 else colormaps["turbo"](np.linspace(0, 1, count))
    for name, curve, shade in zip(sensitivity.classes, sensitivity.values.T, shades, strict=True):
        ax.plot(depth, curve, color=shade, marker="o", markersize=3, linewidth=1.3, label=elide(name, 24))
    ax.fill_between(depth, 0, sensitivity.chance.max(axis=1), color="grey", alpha=0.18, linewidth=0, label="chance")
    labels = [elide(name, 24) for name in sensitivity.layers]
    ax.set_xticks(depth, labels=labels, rotation=45, ha="right", fontsize=8, parse_math=False)
    ax.set_ylabel("correlation with the logit")
    ax.set_ylim(0, 1.02)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    title = f"{sensitivity.matrix.row_title}, {sensitivity.matrix.n_samples:,} samples"
    ax.set_title(title, loc="left", fontsize=10, parse_math=False)
    return figure, ax
