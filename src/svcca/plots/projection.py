"""What k directions of a layer are worth: lines over k, and bars of the dimensions that layers use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.ticker import FuncFormatter

from svcca.plots.heatmap import COLOUR_MAP, axes_or_new, elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from svcca.project.dimensions import IntrinsicDimensions
    from svcca.project.distributedness import Distributedness
    from svcca.project.projection_curve import ProjectionCurve

BASELINE_STYLES = {
    "principal directions": ("#555555", "-"),
    "random directions": ("#999999", "-"),
    "neurons of largest activation": ("#555555", ":"),
    "random neurons": ("#999999", ":"),
}
"""Baselines are grey, and neurons dotted, beside the colours of what is being looked at."""


def plot_projection_curve(curve: ProjectionCurve, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the value against the number of directions, a line a kind; baselines are grey, single neurons dotted.

    Args:
        curve: What to draw.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.4, 4.0)
    sought = [kind for kind in curve.kinds if kind not in BASELINE_STYLES]
    colours = dict(zip(sought, colormaps["viridis"](np.linspace(0.1, 0.75, len(sought))), strict=True))
    for kind, values in zip(curve.kinds, curve.values, strict=True):
        colour, line = BASELINE_STYLES.get(kind, (colours.get(kind), "-"))
        width = 1.2 if kind in BASELINE_STYLES else 1.8
        ax.plot(
            curve.ks,
            values,
            color=colour,
            linestyle=line,
            linewidth=width,
            marker="o",
            markersize=2.5,
            label=elide(kind, 32),
        )
    _finish(ax, curve.ks, curve.unprojected, f"directions kept of {curve.n_features:,}")
    ax.set_title(f"{curve.title} {curve.layer!r}", loc="left", fontsize=10, parse_math=False)
    return figure, ax


def plot_distributedness(result: Distributedness, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the value against the number of directions, a line a number of units that were kept after it.

    Args:
        result: What to draw.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.4, 4.0)
    shades = colormaps["viridis"](np.linspace(0.8, 0.15, len(result.n_units)))
    ax.plot(
        result.ks,
        result.all_units,
        color="black",
        linewidth=1.8,
        marker="o",
        markersize=2.5,
        label=f"all {result.n_features:,} units",
    )
    for count, values, colour in reversed(list(zip(result.n_units, result.values, shades, strict=True))):
        ax.plot(result.ks, values, color=colour, linewidth=1.4, marker="o", markersize=2.5, label=f"{count:,} units")
    _finish(ax, result.ks, result.unprojected, f"directions kept of {result.n_features:,}")
    ax.set_title(f"{result.title} {result.layer!r}, {result.kind}", loc="left", fontsize=10, parse_math=False)
    return figure, ax


def plot_dimensions(found: IntrinsicDimensions, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw a pale bar a layer as long as it is wide, the kept rank dark in it, a mark where enough is kept.

    Args:
        found: What to draw.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.4, 1.2 + 0.3 * len(found.layers))
    places = np.arange(len(found.layers))
    ax.barh(places, [row.width for row in found.layers], color=COLOUR_MAP(0.25, alpha=0.2), height=0.7, label="width")
    kept = f"{found.retained_variance:.0%} of variance"
    ax.barh(places, [row.kept_rank for row in found.layers], color=COLOUR_MAP(0.25), height=0.45, label=kept)
    marked = [(row.needed, place) for row, place in zip(found.layers, places, strict=True) if row.needed is not None]
    if found.unprojected is not None and marked:
        label = f"enough to lose at most {found.tolerance:g}\n({found.kind})"
        ax.plot(*zip(*marked, strict=True), "D", color="#e0712c", markersize=5, label=label)
    ax.set_yticks(places, labels=[elide(row.layer, 32) for row in found.layers], parse_math=False)
    ax.invert_yaxis()
    ax.set_xscale("symlog", linthresh=1, base=2)
    ax.set_xlim(0, 1.1 * max(row.width for row in found.layers))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel("dimensions")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    ax.set_title(found.title, loc="left", fontsize=10, parse_math=False)
    return figure, ax


def _finish(ax: Axes, ks: npt.NDArray[np.int64], unprojected: float, label: str) -> None:
    """Mark the value of the model as it is, name the axes and every line."""
    ax.axhline(unprojected, color="black", linewidth=0.9, linestyle="--", label="unprojected", zorder=0)
    ax.set_xscale("symlog" if ks[0] == 0 else "log", base=2)
    ticks = [2**power for power in range(int(np.log2(max(ks[-1], 1))) + 1)]
    ax.set_xticks(([0] if ks[0] == 0 else []) + [tick for tick in ticks if tick >= ks[0]])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.minorticks_off()
    ax.set_xlabel(label)
    ax.set_ylabel("value of evaluate(model)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
