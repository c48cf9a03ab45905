"""SVCCA weighted by singular values: how similar two layers are, direction by direction of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from svcca.core import coherence
from svcca.core.arrays import ArrayLike
from svcca.core.coherence import LayerPair
from svcca.core.subspace import SVDStep
from svcca.errors import unknown_option
from svcca.measures import chance
from svcca.measures.cca import LEADING
from svcca.measures.evaluate import evaluate_arrays
from svcca.measures.measure import Measure
from svcca.measures.similarity import Similarity, announced

Side = Literal["x", "y", "mean"]
"""Whose singular values weigh: those of x, of y, or the mean of both readings."""

_WHOSE: dict[Side, str] = {
    "x": "the row layer",
    "y": "the column layer",
    "mean": "either layer, the mean of both readings",
}


@dataclass(frozen=True)
class WeightedSVCCA(Measure):
    """Canonical correlations after the SVD step, weighted by the singular values of one side; in [0, 1].

    (1 / sum s_i) sum_i s_i |diag(rho) Xt^H u_i|, u_i the kept left singular vectors of x and Xt its canonical variates.
    With K = A diag(rho) B^H and Xt = U_x A that length is the norm of row i of K: no SVD is needed.

    Attributes:
        side: Whose singular values weigh: "x", "y", or the "mean" of both readings.

    Raises:
        UnknownOptionError: For another side.

    References:
        Raghu et al. (2017), arXiv version 1, section 2.
    """

    side: Side = "x"

    name = "svcca_weighted"
    svd_step = True
    from_correlations = True
    factorisation = "none"

    def __post_init__(self) -> None:
        """Check the side."""
        if self.side not in _WHOSE:
            raise unknown_option(self.name, "side", self.side, _WHOSE)

    @property
    def definition(self) -> str:
        """The definition in one sentence."""
        weights = f"weighted by the singular values of {_WHOSE[self.side]}"
        return f"canonical correlations {LEADING}, {weights} (Raghu et al. 2017, first version)"

    @property
    def symmetric(self) -> bool:
        """Whether both readings count."""
        return self.side == "mean"

    def value(self, pair: LayerPair) -> float:
        """Return sum(s_i |row i of K|) / sum(s_i); columns for y."""
        if self.side == "mean":
            return (_value(pair, "x") + _value(pair, "y")) / 2
        return _value(pair, self.side)

    def chance(self, pair: LayerPair) -> float:
        """Return the weighted mean of the levels of single directions."""
        if self.side == "mean":
            return (_level(pair, "x") + _level(pair, "y")) / 2
        return _level(pair, self.side)


def _value(pair: LayerPair, side: coherence.Side) -> float:
    s = (pair.x if side == "x" else pair.y).singular_values
    return min(1.0, float((s * pair.projection_norms(side)).sum() / s.sum()))


def _level(pair: LayerPair, side: coherence.Side) -> float:
    """|diag(rho) Xt^H u_i| is |U_y^H u_i|: the correlation of one unit, u_i, with the other layer."""
    layer = pair.x if side == "x" else pair.y
    total = 0.0
    for block in pair.blocks:
        own, rank = (block.x_values, block.ranks[1]) if side == "x" else (block.y_values, block.ranks[0])
        if len(own) and rank:
            level = chance.cca_mean(1, rank, block.degrees + 1, complex_valued=block.complex_valued)
            total += block.multiplicity * float(own.sum()) * level
    return total / float(layer.singular_values.sum())


def svcca_weighted(x: ArrayLike, y: ArrayLike, *, side: Side = "x", retained_variance: float = 0.99) -> Similarity:
    """Weighted SVCCA of the paper's first version: correlations weighted by the singular values of one side.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        side: Whose singular values weigh: "x" (default), "y", or the "mean" of both readings.
        retained_variance: Share of each layer's variance to keep.

    Returns:
        Similarity in [0, 1] with ranks, chance level and warnings; 1 for y = x. The formula is at `WeightedSVCCA`.

    Raises:
        InputError: As `svcca`.
        UnknownOptionError: For another side.

    References:
        Raghu et al. (2017), arXiv version 1, section 2.
    """
    return announced(evaluate_arrays(WeightedSVCCA(side), x, y, SVDStep(retained_variance)))
