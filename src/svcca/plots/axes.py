"""How every picture ends: names on its axes, a title, a legend beside it.

Names of layers and classes are anyone's text. They are never parsed as formulas, or "a$b$" would be set as one, or fail
to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from svcca.plots.text import elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_title(ax: Axes, title: str) -> None:
    """Write the title above the left end of the axes."""
    ax.set_title(title, loc="left", fontsize=10, parse_math=False)


def open_frame(ax: Axes) -> None:
    """Leave the frame open at the top and the right."""
    ax.spines[["top", "right"]].set_visible(False)


def list_beside(ax: Axes, **options: Any) -> None:
    """List what is drawn in a legend on the right of the axes, with these options of matplotlib's."""
    options = {"fontsize": 8, "loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False} | options
    for text in ax.legend(**options).get_texts():
        text.set_parse_math(False)


def name_bars(ax: Axes, labels: Sequence[str]) -> None:
    """Name horizontal bars, the first at the top, at 0, 1, ... on an axis without line or ticks."""
    ax.set_yticks(range(len(labels)), labels=[elide(label, 32) for label in labels], parse_math=False)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
