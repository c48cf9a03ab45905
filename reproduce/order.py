"""Compare the order of layers by depth with the order in which they converge."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

Array = np.ndarray[Any, Any]


def rank_correlation(x: Any, y: Any) -> float:
    """Return Spearman's correlation of two sequences; 0 if one is constant and orders nothing."""
    return float(stats.spearmanr(x, y).statistic) if np.ptp(x) > 0 and np.ptp(y) > 0 else 0.0


def time_apart(curves: Array, steps: Array) -> Array:
    """Return the mean over training of 1 - similarity to the end, per layer, from curves (n_steps, n_layers)."""
    return np.trapezoid(1 - curves, steps / steps[-1], axis=0)


def bottom_up(curves: Array, steps: Array) -> float:
    """Return the rank correlation of depth with the mean distance from the end; 1 if lower layers lead."""
    return rank_correlation(range(curves.shape[1]), time_apart(curves, steps))


def from_their_start(curves: Array) -> Array:
    """Rescale each curve to start at 0 and end at 1: the share of its way that a layer has gone."""
    room = np.maximum(1 - curves[:1], 1e-6)  # a layer that starts at its end has nothing to do
    return 1 - (1 - curves) / room
