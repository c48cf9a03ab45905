"""The value of a model against the number of directions that one of its layers keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import FuncFormatter

from svcca.plots.axes import list_beside, open_frame, write_title
from svcca.plots.colours import shades
from svcca.plots.figures import axes_or_new
from svcca.plots.text import elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASELINE_STYLES = {
    "principal directions": ("#555555", "-"),
    "random directions": ("#999999", "-"),
    "neurons of largest activation": ("#555555", ":"),
    "random neurons": ("#999999", ":"),
}
"""Baselines are grey, and neurons dotted, beside the colours of what is being looked at."""


def plot_direction_curves(
    ks: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    *,
    kinds: Sequence[str],
    unprojected: float,
    n_features: int,
    title: str,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw the value against the number of directions, a line a kind; baselines are grey, single neurons dotted.

    Args:
        ks: Numbers of directions, rising, (n_ks,).
        values: Value of the model, (n_kinds, n_ks).
        kinds: Kinds of directions; those of `BASELINE_STYLES` are baselines.
        unprojected: Value of the model as it is.
        n_features: Width of the layer.
        title: The title.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.4, 4.0)
    sought = [kind for kind in kinds if kind not in BASELINE_STYLES]
    colours = dict(zip(sought, shades(len(sought), 0.1, 0.75), strict=True))
    for kind, curve in zip(kinds, values, strict=True):
        colour, line = BASELINE_STYLES.get(kind, (colours.get(kind), "-"))
        width = 1.2 if kind in BASELINE_STYLES else 1.8
        _draw_curve(ax, ks, curve, elide(kind, 32), color=colour, linestyle=line, linewidth=width)
    _finish(ax, ks, unprojected, n_features, title)
    return figure, ax


def plot_unit_curves(
    ks: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    all_units: npt.NDArray[np.float64],
    *,
    n_units: npt.NDArray[np.int64],
    unprojected: float,
    n_features: int,
    title: str,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw the value against the number of directions, a line a number of units that were kept after it.

    Args:
        ks: Numbers of directions, rising, (n_ks,).
        values: Value of the model, (n_ms, n_ks).
        all_units: Its value with every unit kept, (n_ks,).
        n_units: Numbers of units kept, rising, (n_ms,).
        unprojected: Value of the model as it is.
        n_features: Width of the layer.
        title: The title.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.4, 4.0)
    _draw_curve(ax, ks, all_units, f"all {n_features:,} units", color="black", linewidth=1.8)
    lines = list(zip(n_units, values, shades(len(n_units), 0.8, 0.15), strict=True))
    for count, curve, colour in reversed(lines):
        _draw_curve(ax, ks, curve, f"{count:,} units", color=colour, linewidth=1.4)
    _finish(ax, ks, unprojected, n_features, title)
    return figure, ax


def _draw_curve(
    ax: Axes, ks: npt.NDArray[np.int64], values: npt.NDArray[np.float64], label: str, **style: object
) -> None:
    ax.plot(ks, values, marker="o", markersize=2.5, label=label, **style)  # type: ignore[arg-type]


def _finish(ax: Axes, ks: npt.NDArray[np.int64], unprojected: float, n_features: int, title: str) -> None:
    """Mark the value of the model as it is, name the axes and every line."""
    ax.axhline(unprojected, color="black", linewidth=0.9, linestyle="--", label="unprojected", zorder=0)
    ax.set_xscale("symlog" if ks[0] == 0 else "log", base=2)
    ticks = [2**power for power in range(int(np.log2(max(ks[-1], 1))) + 1)]
    ax.set_xticks(([0] if ks[0] == 0 else []) + [tick for tick in ticks if tick >= ks[0]])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.minorticks_off()
    ax.set_xlabel(f"directions kept of {n_features:,}")
    ax.set_ylabel("value of evaluate(model)")
    open_frame(ax)
    list_beside(ax)
    write_title(ax, title)
