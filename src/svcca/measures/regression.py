"""Linear regression: how much of one layer's variance the other predicts."""

from __future__ import annotations

from dataclasses import dataclass

from svcca.core.arrays import ArrayLike
from svcca.core.coherence import LayerPair
from svcca.measures import chance
from svcca.measures.evaluate import evaluate_arrays
from svcca.measures.measure import Measure
from svcca.measures.similarity import Similarity, announced


@dataclass(frozen=True)
class LinearRegression(Measure):
    """Share of the variance of y that least squares on x explains, |U_x^H y|_F^2 / |y|_F^2; in [0, 1].

    References:
        Kornblith et al. (2019), table 1.
    """

    name = "linear_regression_r2"
    definition = (
        "share of the column layer's variance that least squares on the row layer explains (Kornblith et al. 2019)"
    )
    symmetric = False
    factorisation = "none"

    def value(self, pair: LayerPair) -> float:
        """Return the explained share."""
        explained = (pair.y.singular_values * pair.projection_norms("y")).square().sum()
        return min(1.0, float(explained) / pair.y.total_variance)

    def chance(self, pair: LayerPair) -> float:
        """Return the share that unrelated layers explain, each block's weighted by its variance."""
        explained = sum(
            block.multiplicity
            * float((block.y_values**2).sum())
            * chance.linear_regression_r2(block.ranks[0], block.degrees + 1)
            for block in pair.blocks
        )
        return explained / pair.y.total_variance


def linear_regression_r2(x: ArrayLike, y: ArrayLike) -> Similarity:
    """Share of the variance of y that least squares on x explains, |U_x^H y|_F^2 / |y|_F^2; in [0, 1], asymmetric.

    Args:
        x: Activations (n_samples, p) that predict.
        y: Activations (n_samples, q) that are predicted.

    Raises:
        InputError: As `cca`.

    References:
        Kornblith et al. (2019), table 1.
    """
    return announced(evaluate_arrays(LinearRegression(), x, y))
