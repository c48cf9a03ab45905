"""Where a picture is drawn: on the caller's axes, or on a new figure that the right program displays."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes_or_new(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the axes with their figure, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax.figure.figure, ax
    figure = new_figure(width, height)
    return figure, figure.subplots()


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of this size in inches that lays its axes out by itself."""
    return bare_figure(figsize=(width, height), layout="constrained", dpi=120)


def bare_figure(**options: Any) -> Figure:
    """Make an empty figure with these options of matplotlib's.

    It is pyplot's where someone will look for it there. Elsewhere pyplot would keep every figure alive until it is
    closed, which a program that draws a hundred checkpoints does not expect; it gets a figure that needs no display and
    is freed with its last reference.
    """
    if _shows_pyplot_figures():
        from matplotlib import pyplot

        return pyplot.figure(**options)
    return Figure(**options)


def _shows_pyplot_figures() -> bool:
    """Return whether someone will look for the figure in pyplot.

    A notebook displays pyplot's open figures at the end of a cell (and closes them), and nothing of a bare Figure
    inside the returned tuple; `plt.show()` likewise knows only pyplot's.
    """
    ipython = sys.modules.get("IPython")
    return "matplotlib.pyplot" in sys.modules or (ipython is not None and ipython.get_ipython() is not None)
