"""Freeze Training as a picture: how long each block learned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from svcca.plots.heatmap import COLOUR_MAP, axes_or_new, elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from svcca.freeze.summary import FreezeSummary


def plot_freezing(summary: FreezeSummary, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw a bar a block, the input at the top: dark while it learned, pale since it froze.

    Args:
        summary: What to draw.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.2, 1.4 + 0.32 * len(summary.blocks))
    frozen_after = {event.block: event.step for event in summary.events}
    learned = [min(frozen_after.get(block.name, summary.n_steps), summary.n_steps) for block in summary.blocks]
    places = range(len(summary.blocks))
    dark, pale = COLOUR_MAP(0.25), COLOUR_MAP(0.25, alpha=0.22)
    ax.barh(places, learned, color=dark, height=0.68, label="learned")
    ax.barh(places, [summary.n_steps - n for n in learned], left=learned, color=pale, height=0.68, label="frozen")
    names = [elide(block.name, 32) for block in summary.blocks]
    ax.set_yticks(places, labels=names, parse_math=False)
    ax.invert_yaxis()
    ax.set_xlim(0, max(summary.total_steps, summary.n_steps))
    ax.set_xlabel("training step")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    shares = [
        f"{share:.0%} of {what}"
        for share, what in ((summary.share_of_seconds_saved, "time"), (summary.share_of_flops_saved, "operations"))
        if not math.isnan(share)
    ]
    saved = f": {' and '.join(shares)} saved" if shares else ""
    ax.set_title(f"{summary.title}{saved}", loc="left", fontsize=10, parse_math=False)
    return figure, ax
