"""Measures of similarity: each a pure function of a `Coherence`, listed in one registry by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from svcca.core import chance
from svcca.core.coherence import Coherence
from svcca.core.subspace import Subspace, check_retained_variance
from svcca.errors import unknown_option


@dataclass(frozen=True, eq=False)
class Similarity:
    """How similar two layers are, with what is needed to judge the number.

    Attributes:
        measure: Name of the measure.
        similarity: Its value.
        chance: What unrelated layers of the same ranks would give over as many samples.
        x_rank: Directions of x that took part.
        y_rank: Directions of y that took part.
        n_samples: Number of samples.
        warnings: What a reader must know before trusting the value, in plain words.
    """

    measure: str
    similarity: float
    chance: float
    x_rank: int
    y_rank: int
    n_samples: int
    warnings: tuple[str, ...]

    def __float__(self) -> float:
        """Give the similarity."""
        return self.similarity


@dataclass(frozen=True)
class Measure:
    """A measure of similarity between two layers.

    Attributes:
        name: Name by which it is asked for.
        definition: One sentence for a reader of a report.
        evaluate: Its value from a coherence (already cut, where `svd_step` holds).
        chance: Its expected value for unrelated layers.
        svd_step: Whether both layers are first cut to the directions that hold the retained variance.
        from_correlations: Whether it is a mean of canonical correlations, some of them forced to 1 for small n.
        symmetric: Whether swapping the layers leaves it unchanged.
    """

    name: str
    definition: str
    evaluate: Callable[[Coherence], float]
    chance: Callable[[Coherence], float]
    svd_step: bool
    from_correlations: bool
    symmetric: bool


def mean_correlation(coherence: Coherence) -> float:
    """Mean canonical correlation, sum(rho) / min(rank_x, rank_y); in [0, 1]."""
    return float(coherence.correlations.mean())


def projection_weighted(coherence: Coherence) -> float:
    """PWCCA: correlations weighted by how much of the narrower layer's units each variate accounts for; in [0, 1].

    Weights a_i = sum_j |<h_i, z_j>| over the units z_j and the orthonormal canonical variates h_i of the side with
    fewer units (x, if equal).

    References:
        Morcos, Raghu & Bengio (2018), equation 2.
    """
    a, rho, bh = coherence.factors
    if coherence.x.n_features <= coherence.y.n_features:
        weights = _projection_weights(coherence.x, a)
    else:
        weights = _projection_weights(coherence.y, bh.mH)
    return float((weights * rho).sum() / weights.sum())


def _projection_weights(layer: Subspace, rotation: Tensor) -> Tensor:
    """Sum over units of |<canonical variate, unit>|, from V diag(s) R: no sample is looked at again."""
    return ((layer.directions * layer.singular_values) @ rotation).abs().sum(dim=0)


def linear_cka(coherence: Coherence) -> float:
    """Linear CKA, |S_xy|_F^2 / (|S_xx|_F |S_yy|_F); in [0, 1].

    References:
        Kornblith et al. (2019), equation 5.
    """
    x, y = coherence.x.singular_values, coherence.y.singular_values
    cross = x[:, None] * coherence.matrix * y
    norms = torch.linalg.vector_norm(x**2) * torch.linalg.vector_norm(y**2)
    return min(1.0, float(torch.linalg.vector_norm(cross) ** 2 / norms))  # a layer with itself rounds to 1 + 2e-16


def participation_ratio(layer: Subspace) -> float:
    """Effective dimension (sum s^2)^2 / sum s^4, from 1 to the layer's rank."""
    variances = layer.singular_values**2
    return float(variances.sum() ** 2 / (variances**2).sum())


def _chance_cca_mean(coherence: Coherence) -> float:
    return chance.cca_mean(coherence.x.rank, coherence.y.rank, coherence.n_samples)


def _chance_linear_cka(coherence: Coherence) -> float:
    return chance.linear_cka(participation_ratio(coherence.x), participation_ratio(coherence.y), coherence.n_samples)


MEASURES = {
    measure.name: measure
    for measure in (
        Measure(
            "svcca",
            "mean canonical correlation of the leading singular directions that hold 99% (or the share asked for) of "
            "each layer's variance (Raghu et al. 2017)",
            mean_correlation,
            _chance_cca_mean,
            svd_step=True,
            from_correlations=True,
            symmetric=True,
        ),
        Measure(
            "pwcca",
            "mean of all canonical correlations, weighted by how much of the narrower layer's units each canonical "
            "variate accounts for (Morcos et al. 2018)",
            projection_weighted,
            _chance_cca_mean,
            svd_step=False,
            from_correlations=True,
            symmetric=False,
        ),
        Measure(
            "linear_cka",
            "linear centred kernel alignment, |S_xy|^2 / (|S_xx| |S_yy|) (Kornblith et al. 2019)",
            linear_cka,
            _chance_linear_cka,
            svd_step=False,
            from_correlations=False,
            symmetric=True,
        ),
    )
}
"""Every measure that `compare(measure=...)` takes."""


def get_measure(name: str) -> Measure:
    """Look a measure up by name.

    Raises:
        UnknownOptionError: If there is none; the message lists those there are.
    """
    if name not in MEASURES:
        raise unknown_option("measure", "measure", name, MEASURES)
    return MEASURES[name]


def evaluate(measure: Measure, coherence: Coherence, retained_variance: float, where: str = "x and y") -> Similarity:
    """Evaluate one measure on one pair of layers, SVD step, chance level and warnings included."""
    check_retained_variance(retained_variance)
    cut = coherence.keep(retained_variance) if measure.svd_step else coherence
    level = measure.chance(cut)
    return Similarity(
        measure.name,
        measure.evaluate(cut),
        level,
        cut.x.rank,
        cut.y.rank,
        cut.n_samples,
        tuple(doubts(cut, level, where, from_correlations=measure.from_correlations)),
    )


def doubts(coherence: Coherence, level: float, where: str, *, from_correlations: bool) -> list[str]:
    """Say in plain words why a value may mean little: correlations forced to 1, or a high chance level."""
    x_rank, y_rank, n = coherence.x.rank, coherence.y.rank, coherence.n_samples
    forced = chance.forced_ones(x_rank, y_rank, n) if from_correlations else 0
    advice = "Use more samples (5 to 10 for each direction), or keep fewer directions."
    if forced:
        return [
            f"{where}: {forced} of {min(x_rank, y_rank)} canonical correlations are 1 whatever the layers hold, "
            f"because {n} samples cannot tell {x_rank} + {y_rank} directions apart. {advice}"
        ]
    if level > chance.CHANCE_WARNING:
        return [
            f"{where}: unrelated layers would already give {level:.2f} with {n} samples and {x_rank} and {y_rank} "
            f"directions. {advice}"
        ]
    return []
