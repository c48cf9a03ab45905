"""Learning dynamics as lines over training, and as panes of layers against layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

from svcca.errors import unknown_option
from svcca.plots.heatmap import COLOUR_MAP, axes_or_new, elide, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from svcca.compare.class_dynamics import ClassDynamics
    from svcca.compare.dynamics_result import LearningDynamics

DIRECT_LABELS = 12
"""Layers from which on a legend of names takes more room than it gives."""


def plot_lines(dynamics: LearningDynamics, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw each layer's similarity with itself at the end over the steps; dark is near the input.

    Args:
        dynamics: What to draw.
        ax: Where to draw; by default a new figure.
    """
    figure, ax = axes_or_new(ax, 7.2, 4.2)
    _draw_lines(ax, dynamics.steps, dynamics.labels, dynamics.curves)
    levels = np.diagonal(dynamics.chance, axis1=1, axis2=2)
    if not np.isnan(levels).any():
        ax.fill_between(dynamics.steps, 0, levels.max(axis=1), color="grey", alpha=0.18, linewidth=0, label="chance")
    reference = "the end" if dynamics.against == "last" else "the step before"
    ax.set_ylabel(f"{dynamics.measure} with {reference}", parse_math=False)
    ax.set_ylim(0, 1.02)
    _finish_lines(ax, f"{dynamics.title}, {dynamics.n_samples:,} samples")
    return figure, ax


def plot_class_lines(
    dynamics: ClassDynamics, ax: Axes | None = None, class_name: str | None = None
) -> tuple[Figure, Axes]:
    """Draw each layer's share of the logits' variance beyond chance over the steps; dark is near the input.

    Args:
        dynamics: What to draw.
        ax: Where to draw; by default a new figure.
        class_name: One of the classes; default: the mean over all.

    Raises:
        UnknownOptionError: If there is no such class.
    """
    if class_name is not None and class_name not in dynamics.classes:
        raise unknown_option("ClassDynamics.plot", "class_name", class_name, dynamics.classes)
    figure, ax = axes_or_new(ax, 7.2, 4.2)
    curves, of = dynamics.curves, f"mean of {len(dynamics.classes)} classes"
    if class_name is not None:
        curves, of = dynamics.corrected[:, :, dynamics.classes.index(class_name)], elide(class_name, 24)
    _draw_lines(ax, dynamics.steps, dynamics.layers, curves)
    # Chance is taken out of the share, so that noise is at 0 whatever the layer's rank; it falls below 0 as often.
    ax.axhline(0, color="grey", linewidth=1.2, linestyle="--", label="chance", zorder=0)
    ax.set_ylabel("share of variance beyond chance")
    ax.set_ylim(min(-0.04, 1.1 * float(curves.min())), 1.02)
    _finish_lines(ax, f"{dynamics.title}, {of}, {dynamics.n_samples:,} samples")
    return figure, ax


def _draw_lines(ax: Axes, steps: npt.NDArray[np.int64], names: Sequence[str], curves: npt.NDArray[np.float64]) -> None:
    """Draw a line a layer, (n_steps, n_layers), from dark to light with depth."""
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(names)))
    for name, curve, colour in zip(names, curves.T, colours, strict=True):
        ax.plot(steps, curve, color=colour, marker="o", markersize=2.5, linewidth=1.3, label=elide(name, 24))


def _finish_lines(ax: Axes, title: str) -> None:
    """Name the axis of steps, what is drawn and every line."""
    ax.set_xlabel("training step")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(
        title="input to output",
        fontsize=7,
        title_fontsize=8,
        ncols=-(-len(ax.get_legend_handles_labels()[1]) // DIRECT_LABELS),
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
    )
    ax.set_title(title, loc="left", fontsize=10, parse_math=False)


def plot_panes(dynamics: LearningDynamics, n_panes: int = 4) -> tuple[Figure, npt.NDArray[Any]]:
    """Draw layers against layers at evenly chosen steps, the first and the last among them.

    Args:
        dynamics: What to draw.
        n_panes: How many; all steps where there are fewer.
    """
    count = max(1, min(n_panes, len(dynamics.steps)))
    chosen = np.unique(np.linspace(0, len(dynamics.steps) - 1, count).round().astype(int))
    figure = new_figure(2.6 * len(chosen) + 1.6, 3.4)
    axes = figure.subplots(1, len(chosen), squeeze=False)[0]
    names = [elide(name, 18) for name in dynamics.labels]
    for place, (ax, index) in enumerate(zip(axes, chosen, strict=True)):
        image = ax.imshow(dynamics.values[index], cmap=COLOUR_MAP, vmin=0, vmax=1, interpolation="nearest")
        ax.set_title(f"step {dynamics.steps[index]:,}", loc="left", fontsize=10)
        ax.set_xticks(range(len(names)), labels=names, fontsize=6, rotation=90, parse_math=False)
        ax.set_yticks(range(len(names)), labels=names if place == 0 else [], fontsize=6, parse_math=False)
        ax.tick_params(length=0)
    axes[0].set_ylabel("layers at that step", fontsize=9)
    reference = f"at step {dynamics.steps[-1]:,}" if dynamics.against == "last" else "at the step before"
    figure.supxlabel(f"layers {reference}", fontsize=9)
    figure.colorbar(image, ax=list(axes), label=f"{dynamics.measure} similarity", shrink=0.8)
    return figure, axes
