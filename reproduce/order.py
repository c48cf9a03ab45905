"""In what order: layers by depth, and by how long they take to converge."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

Array = np.ndarray[Any, Any]


def rank_correlation(x: Any, y: Any) -> float:
    """Spearman's correlation of two sequences; 0 where one is constant and orders nothing."""
    return float(stats.spearmanr(x, y).statistic) if np.ptp(x) > 0 and np.ptp(y) > 0 else 0.0


def time_apart(curves: Array, steps: Array) -> Array:
    """Mean over training of 1 - similarity to the end, for each layer, from curves (n_steps, n_layers)."""
    return np.trapezoid(1 - curves, steps / steps[-1], axis=0)


def bottom_up(curves: Array, steps: Array) -> float:
    """Rank correlation of depth with the mean distance from the end over training; 1: lower layers are there first."""
    return rank_correlation(range(curves.shape[1]), time_apart(curves, steps))


def from_their_start(curves: Array) -> Array:
    """Rescale each curve so that it starts at 0 and ends at 1: how much of what it had to do a layer has done."""
    room = np.maximum(1 - curves[:1], 1e-6)  # a layer that starts at its end has nothing to do
    return 1 - (1 - curves) / room
