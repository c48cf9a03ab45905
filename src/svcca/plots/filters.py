"""Canonical directions of two-dimensional maps as spatial filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from svcca.errors import InputError, message
from svcca.plots.figures import new_figure
from svcca.plots.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_filters(
    sides: Mapping[str, npt.NDArray[np.float64]],
    correlations: npt.NDArray[np.float64],
    frequencies: npt.NDArray[np.int64],
) -> tuple[Figure, npt.NDArray[Any]]:
    """Draw the strongest channel of each filter, a column a canonical direction and a row a side.

    Args:
        sides: By name, filters (n_filters, n_channels, height, width).
        correlations: Canonical correlation of each column, (n_filters,).
        frequencies: Its spatial frequency, signed, (n_filters, 2).

    Returns:
        The figure, and its axes as an array (n_sides, n_filters).

    Raises:
        InputError: If the filters have other than two spatial axes.
    """
    for filters in sides.values():
        if filters.ndim != 4:
            expected, got = "maps of two spatial axes on every side", f"{filters.ndim - 2}"
            raise InputError(message("plot of filters", expected, got))
    count = len(correlations)
    figure = new_figure(1.5 * count + 0.6, 1.5 * len(sides) + 0.6)
    axes: npt.NDArray[Any] = figure.subplots(len(sides), count, squeeze=False)
    for row, (name, filters) in zip(axes, sides.items(), strict=True):
        for ax, planes in zip(row, filters, strict=True):
            _draw_strongest(ax, planes)
        row[0].set_ylabel(name, rotation=0, labelpad=10, fontsize=11)
    for ax, correlation, frequency in zip(axes[0], correlations, frequencies, strict=True):
        place = ", ".join(str(int(step)) for step in frequency)
        ax.set_title(f"ρ {number(float(correlation), 3)}\nat ({place})", fontsize=9)
    return figure, axes


def _draw_strongest(ax: Axes, planes: npt.NDArray[np.float64]) -> None:
    """Draw that channel, (n_channels, height, width), which holds the largest entry; colours are symmetric about 0."""
    channel = int(np.abs(planes).max(axis=(1, 2)).argmax())
    limit = float(np.abs(planes[channel]).max())
    ax.imshow(planes[channel], cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set(xticks=[], yticks=[], xlabel=f"channel {channel}")
