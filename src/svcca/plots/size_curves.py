"""Accuracy against the size of a network, a line a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.ticker import EngFormatter

from svcca.plots.axes import list_beside, open_frame, write_title
from svcca.plots.colours import shades
from svcca.plots.figures import axes_or_new
from svcca.plots.text import elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*"
"""One a method: lines that lie on each other are told apart by them, on a grey printer too."""


def plot_size_curves(
    methods: Sequence[str],
    sizes: Sequence[int],
    accuracies: Sequence[float],
    *,
    original: tuple[int, float],
    title: str,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw accuracy against the parameters of the whole network, a line a method; the original is a star on a level.

    Args:
        methods: The method of each smaller network, in any order.
        sizes: Their parameters.
        accuracies: Their accuracies.
        original: Parameters and accuracy of the network itself.
        title: The title.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.2, 4.2)
    ax.axhline(original[1], color="grey", linewidth=1.2, linestyle="--", zorder=0)
    points = sorted(zip(sizes, accuracies, methods, strict=True))
    names = list(dict.fromkeys(methods))
    for place, (name, colour) in enumerate(zip(names, shades(max(2, len(names))), strict=False)):
        ax.plot(
            [size for size, _, method in points if method == name],
            [accuracy for _, accuracy, method in points if method == name],
            color=colour,
            marker=MARKERS[place % len(MARKERS)],
            markersize=6,
            markerfacecolor="none",
            linewidth=1.3,
            label=elide(name, 24),
        )
    ax.plot(original[:1], original[1:], "*", color="black", markersize=11, label="original", zorder=3)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.set_xlabel("parameters of the whole network")
    ax.set_ylabel("accuracy")
    open_frame(ax)
    list_beside(ax, title="directions by", title_fontsize=8)
    write_title(ax, title)
    return figure, ax
