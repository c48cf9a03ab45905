"""Compression as a picture: accuracy against size, a line a method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import EngFormatter

from svcca.plots.heatmap import axes_or_new, elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from svcca.compress.curve_result import CompressionCurve

MARKERS = "osD^vPX*"
"""One a method: lines that lie on each other are told apart by them, on a grey printer too."""


def plot_compression(curve: CompressionCurve, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw accuracy against the parameters of the whole network, a line a method; the original is a star on a level.

    Args:
        curve: What to draw.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.2, 4.2)
    ax.axhline(curve.accuracy, color="grey", linewidth=1.2, linestyle="--", zorder=0)
    colours = colormaps["viridis"](np.linspace(0, 0.9, max(2, len(curve.methods))))
    for place, method in enumerate(curve.methods):
        points = sorted((p.parameters, p.accuracy) for p in curve.points if p.method == method)
        ax.plot(
            [parameters for parameters, _ in points],
            [accuracy for _, accuracy in points],
            color=colours[place],
            marker=MARKERS[place % len(MARKERS)],
            markersize=6,
            markerfacecolor="none",
            linewidth=1.3,
            label=elide(method, 24),
        )
    ax.plot([curve.parameters], [curve.accuracy], "*", color="black", markersize=11, label="original", zorder=3)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.set_xlabel("parameters of the whole network")
    ax.set_ylabel("accuracy")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(
        title="directions by",
        fontsize=8,
        title_fontsize=8,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
    )
    n_layers = len(curve.layers)
    of = f"{n_layers} layer{'s' if n_layers != 1 else ''} compressed"
    ax.set_title(f"{curve.title}, {of}" if curve.title else of, loc="left", fontsize=10, parse_math=False)
    return figure, ax
