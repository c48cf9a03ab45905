"""How many dimensions each layer has and uses, a bar a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter

from svcca.plots.axes import list_beside, name_bars, write_title
from svcca.plots.colours import COLOUR_MAP, DARK
from svcca.plots.figures import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_TICKS = 8
"""Powers of 2 named on the axis; more of them run into each other beside long names."""


def plot_dimension_bars(
    layers: Sequence[str],
    widths: Sequence[int],
    kept_ranks: Sequence[int],
    needed: Sequence[int | None],
    *,
    kept_label: str,
    needed_label: str,
    title: str,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw a pale bar a layer as long as it is wide, the kept rank dark in it, a mark where enough is kept.

    Args:
        layers: Names of the layers.
        widths: Their widths.
        kept_ranks: Their kept ranks.
        needed: Directions that are enough for each; None where that was not measured.
        kept_label: What the kept rank is.
        needed_label: What is enough.
        title: The title.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.4, 1.2 + 0.3 * len(layers))
    places = range(len(layers))
    ax.barh(places, widths, color=COLOUR_MAP(0.25, alpha=0.2), height=0.7, label="width")
    ax.barh(places, kept_ranks, color=DARK, height=0.45, label=kept_label)
    marked = [(k, place) for place, k in enumerate(needed) if k is not None]
    if marked:
        ax.plot(*zip(*marked, strict=True), "D", color="#e0712c", markersize=5, label=needed_label)
    name_bars(ax, layers)
    ax.set_xscale("symlog", linthresh=1, base=2)
    ax.set_xlim(0, 1.1 * max(widths))
    n_powers = int(1.1 * max(widths)).bit_length()
    ax.set_xticks([0, *(2**power for power in range(0, n_powers, -(-n_powers // MOST_TICKS)))])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel("dimensions")
    list_beside(ax)
    write_title(ax, title)
    return figure, ax
