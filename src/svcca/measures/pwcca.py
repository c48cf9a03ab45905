"""Projection-weighted CCA: correlations weighted by how much of a layer's units each canonical variate accounts for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from svcca.core import coherence
from svcca.core.arrays import ArrayLike
from svcca.core.coherence import LayerPair
from svcca.errors import unknown_option
from svcca.measures import levels
from svcca.measures.evaluate import evaluate_arrays
from svcca.measures.measure import Measure
from svcca.measures.similarity import Similarity, announced

WeightingSide = Literal["narrower", "x", "y", "mean"]
"""Whose units weigh: the side with fewer units (x where they are equal), x, y, or the mean of both readings."""

_WHOSE: dict[WeightingSide, str] = {
    "narrower": "the narrower layer's",
    "x": "the row layer's",
    "y": "the column layer's",
    "mean": "either layer's (the mean of both readings)",
}


@dataclass(frozen=True)
class PWCCA(Measure):
    """Canonical correlations weighted by how much of one layer's units each canonical variate accounts for; in [0, 1].

    sum a_i rho_i / sum a_i with a_i = sum_j |<h_i, z_j>| over the units z_j and the orthonormal canonical variates h_i
    of that layer.

    Attributes:
        side: Whose units weigh: "narrower" (the layer with fewer units, x if equal), "x", "y", or the "mean" of both
            readings.
        squared: Whether a_i sums squares, which no rotation of the units changes.

    Raises:
        UnknownOptionError: For another side.

    References:
        Morcos, Raghu & Bengio (2018), equation 2.
    """

    side: WeightingSide = "narrower"
    squared: bool = False

    name = "pwcca"
    from_correlations = True
    needs_vectors = True

    def __post_init__(self) -> None:
        """Check the side."""
        if self.side not in _WHOSE:
            raise unknown_option(self.name, "side", self.side, _WHOSE)

    @property
    def definition(self) -> str:
        """The definition in one sentence."""
        in_squares = ", in squares" if self.squared else ""
        return (
            f"mean of all canonical correlations, weighted by how much of {_WHOSE[self.side]} units each canonical "
            f"variate accounts for{in_squares} (Morcos et al. 2018)"
        )

    @property
    def symmetric(self) -> bool:
        """Whether both readings count."""
        return self.side == "mean"

    def value(self, pair: LayerPair) -> float:
        """Return sum(a_i rho_i) / sum(a_i)."""
        if self.side == "mean":
            return (self._weighted_by(pair, "x") + self._weighted_by(pair, "y")) / 2
        if self.side == "narrower":
            return self._weighted_by(pair, "x" if pair.x.n_features <= pair.y.n_features else "y")
        return self._weighted_by(pair, self.side)

    def _weighted_by(self, pair: LayerPair, side: coherence.Side) -> float:
        weights, rho = pair.projection_weights(side, squared=self.squared)
        return float((weights * rho).sum() / weights.sum())

    def chance(self, pair: LayerPair) -> float:
        """Return the mean correlation of unrelated layers: their weights do not depend on the correlations."""
        return levels.mean_correlation(pair)


def pwcca(x: ArrayLike, y: ArrayLike, *, side: WeightingSide = "narrower", squared: bool = False) -> Similarity:
    """Projection-weighted CCA of two layers.

    sum(a_i rho_i) / sum(a_i) over all canonical correlations; a_i = sum_j |<h_i, z_j>| is how much of the units z_j of
    one layer its canonical variate h_i accounts for.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        side: Whose units weigh: "narrower" (default: the layer with fewer units, x if equal), "x", "y", or the "mean"
            of both readings.
        squared: Whether to weigh by squares, which no rotation of the units changes.

    Returns:
        Similarity in [0, 1] with ranks, chance level and warnings.

    Raises:
        InputError: As `cca`.
        UnknownOptionError: For another side.

    References:
        Morcos, Raghu & Bengio (2018), section 2.2.
    """
    return announced(evaluate_arrays(PWCCA(side, squared), x, y))
