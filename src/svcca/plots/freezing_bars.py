"""How long each block of a network learned before it froze, a bar a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from svcca.plots.axes import list_beside, name_bars, write_title
from svcca.plots.colours import COLOUR_MAP, DARK
from svcca.plots.figures import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_freezing_bars(
    blocks: Sequence[str],
    learned: Sequence[int],
    *,
    n_steps: int,
    total_steps: int,
    title: str,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw a bar a block, the input at the top: dark while it learned, pale since it froze.

    Args:
        blocks: Names of the blocks, from the input on.
        learned: Steps during which each learned.
        n_steps: Steps so far.
        total_steps: Steps of the whole run.
        title: The title.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.2, 1.4 + 0.32 * len(blocks))
    places = range(len(blocks))
    frozen = [n_steps - steps for steps in learned]
    pale = COLOUR_MAP(0.25, alpha=0.22)
    ax.barh(places, learned, color=DARK, height=0.68, label="learned")
    ax.barh(places, frozen, left=learned, color=pale, height=0.68, label="frozen")
    name_bars(ax, blocks)
    ax.set_xlim(0, max(total_steps, n_steps))
    ax.set_xlabel("training step")
    list_beside(ax, fontsize=None)
    write_title(ax, title)
    return figure, ax
