"""Pictures of the Fourier way: similarity by frequency, covariance before and after the DFT, canonical filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm

from svcca.errors import InputError, message
from svcca.fourier.translation import covariances, translation_gap
from svcca.plots.heatmap import COLOUR_MAP, axes_or_new, new_figure, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from svcca.core.arrays import ArrayLike
    from svcca.fourier.cca import FourierCCAResult

DECADES = 5
"""How far below the largest entry the colours of a covariance reach."""
PIXELS = 512
"""Entries of a covariance drawn along an axis; where there are more, each stands for the largest of a square."""


def plot_frequency_map(result: FourierCCAResult, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the mean correlation at each spatial frequency, zero in the middle; white where nothing is kept.

    Args:
        result: Of `fourier_cca`, for maps of one or two spatial axes.
        ax: Where to draw; by default a new figure.

    Raises:
        InputError: For maps of three axes or more, and for a vector on one side.
    """
    values = result.frequency_map
    if not 1 <= values.ndim <= 2:
        expected, got = "maps of one or two spatial axes on both sides", f"{values.ndim}"
        raise InputError(message("plot_frequency_map", expected, got, remedy="Read result.frequency_map"))
    figure, ax = axes_or_new(ax, 4.2, 3.6 if values.ndim == 2 else 2.6)
    shifted = np.fft.fftshift(np.ma.filled(values, np.nan))
    frequencies = [np.fft.fftshift(np.fft.fftfreq(size, 1 / size)).astype(int) for size in values.shape]
    if values.ndim == 1:
        ax.plot(frequencies[0], shifted, marker="o", markersize=3)
        ax.axhline(result.chance, color="grey", linestyle="--", linewidth=1)
        ax.annotate("chance", (frequencies[0][0], result.chance), fontsize=8, va="bottom", color="grey")
        ax.set(ylim=(0, 1.02), xlabel="spatial frequency (cycles per map)", ylabel="mean correlation")
    else:
        low = [float(steps[0]) - 0.5 for steps in frequencies]
        high = [float(steps[-1]) + 0.5 for steps in frequencies]
        extent = (low[1], high[1], high[0], low[0])
        image = ax.imshow(shifted, cmap=COLOUR_MAP, vmin=0, vmax=1, extent=extent, interpolation="nearest")
        bar = figure.colorbar(image, ax=ax, label="mean correlation")
        bar.ax.axhline(result.chance, color="white", linewidth=1.5)
        ax.set(xlabel="horizontal frequency (cycles per map)", ylabel="vertical frequency")
    ax.set_title(f"SVCCA {number(result.similarity, 2)}, chance {number(result.chance, 2)}", loc="left", fontsize=10)
    return figure, ax


def plot_covariances(
    maps: ArrayLike, channel: int = 0, *, channels_last: bool = False
) -> tuple[Figure, npt.NDArray[Any]]:
    """Draw one channel's covariance between positions beside that between frequencies (Raghu et al., figure App. 2).

    The nearer the second is to a diagonal, the nearer the Fourier way is to the flattened maps; the titles give the
    shares of energy off the diagonal blocks over all channels, `translation_gap`.

    Args:
        maps: (n_samples, n_channels, *sizes), at most some thousand positions.
        channel: Which channel to draw.
        channels_last: Whether maps are (n_samples, *sizes, n_channels).
    """
    before, after = covariances(maps, channel, channels_last=channels_last)
    gap = translation_gap(maps, channels_last=channels_last)
    figure = new_figure(9.2, 4.2)
    axes = figure.subplots(1, 2)
    panes = (("positions", before, gap.before), ("spatial frequencies", after, gap.after))
    for ax, (name, values, share) in zip(axes, panes, strict=True):
        relative = np.maximum(_thinned(values) / (values.max() or 1.0), 10.0**-DECADES)
        extent = (0, len(values), len(values), 0)
        image = ax.imshow(relative, cmap=COLOUR_MAP, norm=LogNorm(10.0**-DECADES, 1), extent=extent)
        ax.set(xlabel=f"{name}, in the order of the flattened map", ylabel=name)
        ax.set_title(f"between {name}: {share:.0%} off the diagonal", loc="left", fontsize=10)
    figure.colorbar(image, ax=list(axes), label="|covariance| / the largest", shrink=0.85)
    return figure, axes


def plot_filters(result: FourierCCAResult, n_filters: int = 6) -> tuple[Figure, npt.NDArray[Any]]:
    """Draw canonical directions of two-dimensional maps as spatial filters, x above y, their strongest channel.

    Args:
        result: Of `fourier_cca`.
        n_filters: How many pairs, those of the largest correlations.

    Raises:
        InputError: For maps of other than two spatial axes.
    """
    sides = (("x", result.x_filters(n_filters)), ("y", result.y_filters(n_filters)))
    for _, side in sides:
        if side.filters.ndim != 4:
            got = f"{side.filters.ndim - 2}"
            raise InputError(message("plot_filters", "maps of two spatial axes on both sides", got))
    count = len(sides[0][1].correlations)
    figure = new_figure(1.5 * count + 0.6, 3.6)
    axes = figure.subplots(2, count, squeeze=False)
    for row, (name, side) in zip(axes, sides, strict=True):
        for column, ax in enumerate(row):
            planes = side.filters[column]
            channel = int(np.abs(planes).max(axis=(1, 2)).argmax())
            limit = float(np.abs(planes[channel]).max())
            ax.imshow(planes[channel], cmap="RdBu_r", vmin=-limit, vmax=limit)
            ax.set(xticks=[], yticks=[], xlabel=f"channel {channel}")
            if name == "x":
                frequency = _signed(side.frequencies[column])
                ax.set_title(f"ρ {number(float(side.correlations[column]), 3)}\nat {frequency}", fontsize=9)
        row[0].set_ylabel(name, rotation=0, labelpad=10, fontsize=11)
    return figure, axes


def _thinned(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Take the largest entry of squares, so that a thin diagonal does not vanish between pixels."""
    step = -(-len(values) // PIXELS)
    edges = np.arange(0, len(values), step)
    thinned: npt.NDArray[np.float64] = np.maximum.reduceat(np.maximum.reduceat(values, edges, axis=0), edges, axis=1)
    return thinned


def _signed(frequency: Sequence[int] | npt.NDArray[np.int64]) -> str:
    return "(" + ", ".join(str(int(step)) for step in frequency) + ")"
