"""The mean correlation of two layers of maps at each spatial frequency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from svcca.errors import InputError, message
from svcca.plots.axes import write_title
from svcca.plots.colours import COLOUR_MAP
from svcca.plots.figures import axes_or_new
from svcca.plots.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_frequency_map(
    values: npt.NDArray[np.float64], *, similarity: float, chance: float, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw the mean correlation at each spatial frequency, zero in the middle; white where nothing is kept.

    Args:
        values: Mean correlations of one or two spatial axes, zero frequency first; masked where nothing is kept.
        similarity: The mean over all frequencies.
        chance: Its chance level.
        ax: Where to draw; by default a new figure.

    Raises:
        InputError: If the maps have no spatial axis on one side, as a vector has, or three or more.
    """
    if not 1 <= values.ndim <= 2:
        expected, remedy = "maps of one or two spatial axes on both sides", "Read result.frequency_map"
        raise InputError(message("plot of a frequency map", expected, f"{values.ndim}", remedy=remedy))
    figure, ax = axes_or_new(ax, 4.2, 3.6 if values.ndim == 2 else 2.6)
    shifted = np.fft.fftshift(np.ma.filled(values, np.nan))
    frequencies = [np.fft.fftshift(np.fft.fftfreq(size, 1 / size)).astype(int) for size in values.shape]
    if values.ndim == 1:
        _draw_line(ax, shifted, frequencies[0], chance)
    else:
        _draw_plane(ax, shifted, frequencies, chance)
    write_title(ax, f"SVCCA {number(similarity, 2)}, chance {number(chance, 2)}")
    return figure, ax


def _draw_line(ax: Axes, values: npt.NDArray[np.float64], frequencies: npt.NDArray[np.int64], chance: float) -> None:
    ax.plot(frequencies, values, marker="o", markersize=3)
    ax.axhline(chance, color="grey", linestyle="--", linewidth=1)
    ax.annotate("chance", (frequencies[0], chance), fontsize=8, va="bottom", color="grey")
    ax.set(ylim=(0, 1.02), xlabel="spatial frequency (cycles per map)", ylabel="mean correlation")


def _draw_plane(
    ax: Axes, values: npt.NDArray[np.float64], frequencies: list[npt.NDArray[np.int64]], chance: float
) -> None:
    (top, bottom), (left, right) = ((float(steps[0]) - 0.5, float(steps[-1]) + 0.5) for steps in frequencies)
    extent = (left, right, bottom, top)
    image = ax.imshow(values, cmap=COLOUR_MAP, vmin=0, vmax=1, extent=extent, interpolation="nearest")
    bar = ax.figure.colorbar(image, ax=ax, label="mean correlation")
    bar.ax.axhline(chance, color="white", linewidth=1.5)
    ax.set(xlabel="horizontal frequency (cycles per map)", ylabel="vertical frequency")
