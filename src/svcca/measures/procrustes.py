"""Procrustes: how well an orthogonal map and a scale turn one layer into the other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from svcca.core.arrays import ArrayLike
from svcca.core.coherence import LayerPair
from svcca.measures import chance
from svcca.measures.evaluate import evaluate_arrays
from svcca.measures.measure import Measure
from svcca.measures.similarity import Similarity, announced


@dataclass(frozen=True)
class Procrustes(Measure):
    """Procrustes similarity, nuclear norm of S_xy / sqrt(tr S_xx tr S_yy); in [0, 1].

    References:
        Ding, Denain & Steinhardt (2021), section 2.
    """

    name = "procrustes"
    definition = "nuclear norm of the cross-covariance over the root of both total variances (Ding et al. 2021)"
    factorisation = "cross"

    def value(self, pair: LayerPair) -> float:
        """Return the similarity."""
        nuclear = float(pair.cross_singular_values.sum())
        return min(1.0, nuclear / math.sqrt(pair.x.total_variance * pair.y.total_variance))

    def chance(self, pair: LayerPair) -> float:
        """Return what unrelated layers of these spectra would give, each block's share of the nuclear norm summed."""
        total = 0.0
        for block in pair.blocks:
            if min(block.ranks):
                scale = math.sqrt(float((block.x_values**2).sum() * (block.y_values**2).sum()))
                level = chance.procrustes(block.x_values, block.y_values, block.degrees + 1)
                total += block.multiplicity * scale * level
        return total / math.sqrt(pair.x.total_variance * pair.y.total_variance)


def procrustes(x: ArrayLike, y: ArrayLike) -> Similarity:
    """Procrustes similarity of two layers, nuclear norm of S_xy / sqrt(tr S_xx tr S_yy); in [0, 1].

    How well an orthogonal map and a scale turn one layer into the other.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.

    Raises:
        InputError: As `cca`.

    References:
        Ding, Denain & Steinhardt (2021), section 2; Williams et al. (2021).
    """
    return announced(evaluate_arrays(Procrustes(), x, y))


def procrustes_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Procrustes distance sqrt(2 - 2 similarity) of two layers scaled to unit variance; in [0, sqrt(2)], a metric."""
    return math.sqrt(2 - 2 * announced(evaluate_arrays(Procrustes(), x, y)).similarity)


def procrustes_angle(x: ArrayLike, y: ArrayLike) -> float:
    """Procrustes angle arccos(similarity) of two layers, in radians; in [0, pi / 2], a metric."""
    return math.acos(announced(evaluate_arrays(Procrustes(), x, y)).similarity)
