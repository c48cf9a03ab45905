"""Style all figures of the gallery alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 100
"""Resolution of the committed pictures; a figure of 9 x 4 inches is about 60 kB."""


def new_figure(width: float = 9.0, height: float = 3.6) -> Figure:
    """Create a figure outside pyplot, so that nothing global is left behind."""
    return Figure(figsize=(width, height), layout="constrained", dpi=DPI)


def tidy(ax: Axes) -> Axes:
    """Remove the upper and right sides of the frame."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def band(ax: Axes, x: Any, curves: Any, **style: Any) -> None:
    """Draw the mean of curves (n_seeds, n_points) and, behind it, one standard deviation either way."""
    values = np.asarray(curves, dtype=float)
    (line,) = ax.plot(x, values.mean(axis=0), **style)
    if len(values) > 1:
        spread, mean = values.std(axis=0, ddof=1), values.mean(axis=0)
        ax.fill_between(x, mean - spread, mean + spread, color=line.get_color(), alpha=0.15, linewidth=0)
