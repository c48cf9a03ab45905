"""Covariance of maps between positions, beside that between spatial frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm

from svcca.plots.axes import write_title
from svcca.plots.colours import COLOUR_MAP
from svcca.plots.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DECADES = 5
"""How far below the largest entry the colours of a covariance reach."""
PIXELS = 512
"""Entries of a covariance drawn along an axis; where there are more, each stands for the largest of a square."""


def plot_covariances(
    positions: npt.NDArray[np.float64],
    frequencies: npt.NDArray[np.float64],
    *,
    share_between_positions: float,
    share_between_frequencies: float,
) -> tuple[Figure, npt.NDArray[Any]]:
    """Draw the magnitude of two covariances side by side, each relative to its largest entry.

    Args:
        positions: Covariance between positions, (n_positions, n_positions), not negative.
        frequencies: The same between spatial frequencies.
        share_between_positions: Share of the energy off the diagonal of the first, for its title.
        share_between_frequencies: The same of the second.

    Returns:
        The figure, and its axes as an array (2,).
    """
    figure = new_figure(9.2, 4.2)
    axes: npt.NDArray[Any] = figure.subplots(1, 2)
    panes = (
        ("positions", positions, share_between_positions),
        ("spatial frequencies", frequencies, share_between_frequencies),
    )
    for ax, (name, values, share) in zip(axes, panes, strict=True):
        relative = np.maximum(_thinned(values) / (values.max() or 1.0), 10.0**-DECADES)
        extent = (0, len(values), len(values), 0)
        image = ax.imshow(relative, cmap=COLOUR_MAP, norm=LogNorm(10.0**-DECADES, 1), extent=extent)
        ax.set(xlabel=f"{name}, in the order of the flattened map", ylabel=name)
        write_title(ax, f"between {name}: {share:.0%} off the diagonal")
    figure.colorbar(image, ax=list(axes), label="|covariance| / the largest", shrink=0.85)
    return figure, axes


def _thinned(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Take the largest entry of each square, so that a thin diagonal does not vanish between pixels."""
    step = -(-len(values) // PIXELS)
    edges = np.arange(0, len(values), step)
    thinned: npt.NDArray[np.float64] = np.maximum.reduceat(np.maximum.reduceat(values, edges, axis=0), edges, axis=1)
    return thinned
