"""Measures of similarity: each a pure function of a `LayerPair`, that is of two subspaces and U_x^H U_y."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from svcca.core.coherence import LayerPair, LayerSpectrum
from svcca.core.linalg import FLOAT64_EPS
from svcca.core.subspace import Subspace
from svcca.errors import InputError, message, unknown_option

Side = Literal["x", "y", "mean"]
"""Whose units or directions weigh: those of x, of y, or the mean of both readings."""
WeightingSide = Literal["narrower", "x", "y", "mean"]
"""As `Side`; "narrower" is the side with fewer units, x where they are equal."""


def mean_correlation(coherence: LayerPair) -> float:
    """Mean canonical correlation, sum(rho) / min(rank_x, rank_y); in [0, 1]."""
    return float(coherence.correlations.mean())


def r2_cca(coherence: LayerPair) -> float:
    """Mean squared canonical correlation, sum(rho^2) / min(rank_x, rank_y); in [0, 1]. Yanai's GCD up to scaling."""
    return float(coherence.correlations.square().mean())


def top_mean(coherence: LayerPair, k: int) -> float:
    """Mean of the k largest canonical correlations (of all, where there are fewer); in [0, 1]."""
    return float(coherence.correlations[:k].mean())


def thresholded_mean(coherence: LayerPair, fraction: float = 0.98) -> float:
    """Mean of the leading canonical correlations that hold a fraction of sum(rho); in [0, 1]."""
    rho = coherence.correlations
    share = torch.cumsum(rho, dim=0) / rho.sum()
    return float(rho[: int((share < fraction).sum()) + 1].mean())


def svcca_weighted(coherence: LayerPair, side: Side = "x") -> float:
    """Canonical correlations weighted by the singular values of one side; in [0, 1].

    (1 / sum s_i) sum_i s_i |diag(rho) Xt^H u_i|, u_i the left singular vectors of x and Xt its canonical variates. With
    K = A diag(rho) B^H and Xt = U_x A that length is the norm of row i of K: no SVD is needed.

    References:
        Raghu et al. (2017), first version, section 2.
    """
    if side == "mean":
        return (svcca_weighted(coherence, "x") + svcca_weighted(coherence, "y")) / 2
    if side not in ("x", "y"):
        raise unknown_option("weighted SVCCA", "side", side, ["x", "y", "mean"])
    s = (coherence.x if side == "x" else coherence.y).singular_values
    return min(1.0, float((s * coherence.projection_norms(side)).sum() / s.sum()))


def projection_weighted(coherence: LayerPair, side: WeightingSide = "narrower", *, squared: bool = False) -> float:
    """PWCCA: correlations weighted by how much of one layer's units each canonical variate accounts for; in [0, 1].

    sum a_i rho_i / sum a_i with a_i = sum_j |<h_i, z_j>| over the units z_j and the orthonormal canonical variates h_i
    of that layer. `squared` sums squares instead, which no rotation of the units changes.

    References:
        Morcos, Raghu & Bengio (2018), equation 2.
    """
    if side == "narrower":
        side = "x" if coherence.x.n_features <= coherence.y.n_features else "y"
    if side == "mean":
        sides = [projection_weighted(coherence, one, squared=squared) for one in ("x", "y")]
        return sum(sides) / 2
    if side not in ("x", "y"):
        raise unknown_option("PWCCA", "side", side, ["narrower", "x", "y", "mean"])
    weights, rho = coherence.projection_weights(side, squared=squared)
    return float((weights * rho).sum() / weights.sum())


def linear_cka(coherence: LayerPair) -> float:
    """Linear CKA, |S_xy|_F^2 / (|S_xx|_F |S_yy|_F); in [0, 1].

    References:
        Kornblith et al. (2019), equation 5.
    """
    norms = [torch.linalg.vector_norm(layer.singular_values**2) for layer in (coherence.x, coherence.y)]
    value = coherence.cross_norm**2 / (norms[0] * norms[1])
    return min(1.0, float(value))  # a layer with itself rounds to 1 + 2e-16


def linear_cka_debiased(coherence: LayerPair) -> float:
    """Linear CKA from the unbiased estimator of HSIC; at most 1, about 0 for unrelated layers, may be negative.

    Centred rows have K 1 = 0, so the estimator needs |S_xy|^2 and the squared length of each row beside it:
    n (n - 3) HSIC_1 = |S_xy|_F^2 - n/(n - 2) sum_i |x_i|^2 |y_i|^2 + tr S_xx tr S_yy / ((n - 1)(n - 2)).

    Raises:
        InputError: Without the rows in memory (squared lengths are no function of the moments), for n < 4, or for a
            layer whose samples are all equally alike.

    References:
        Song et al. (2012), equation 5; Kornblith et al. (2019).
    """
    x, y = coherence.x, coherence.y
    if not isinstance(x, Subspace) or not isinstance(y, Subspace) or x.basis is None or y.basis is None:
        remedy = "Pass arrays, or keep the rows"
        raise InputError(message("debiased CKA", "the rows in memory", "moments", "It needs their lengths", remedy))
    n = coherence.n_samples
    if n < 4:
        raise InputError(message("debiased CKA", "at least 4 samples", str(n)))
    x_lengths, y_lengths = (_squared_lengths(layer) for layer in (x, y))
    xy = _hsic(coherence.cross_norm**2, x_lengths, y_lengths, n)
    own = []
    for layer, lengths in ((x, x_lengths), (y, y_lengths)):
        biased = float((layer.singular_values**4).sum())
        own.append(_hsic(biased, lengths, lengths, n))
        if own[-1] < n * FLOAT64_EPS * biased:  # zero, but for rounding
            cause = "Its samples are all equally alike, as one-hot rows are: nothing is left once the bias is taken off"
            raise InputError(
                message("debiased CKA", "samples that are not all equally alike", "a layer of such", cause)
            )
    return min(1.0, xy / math.sqrt(own[0] * own[1]))


def _squared_lengths(layer: Subspace) -> Tensor:
    assert layer.basis is not None, "checked by the caller"
    return (layer.basis * layer.singular_values).abs().square().sum(dim=1)


def _hsic(cross: float, x_lengths: Tensor, y_lengths: Tensor, n: int) -> float:
    """Unbiased HSIC times n (n - 3)."""
    traces = x_lengths.sum() * y_lengths.sum()
    return float(cross - n / (n - 2) * (x_lengths @ y_lengths) + traces / ((n - 1) * (n - 2)))


def procrustes(coherence: LayerPair) -> float:
    """Procrustes similarity, nuclear norm of S_xy / sqrt(tr S_xx tr S_yy); in [0, 1].

    References:
        Ding, Denain & Steinhardt (2021), section 2.
    """
    nuclear = float(coherence.cross_singular_values.sum())
    return min(1.0, nuclear / math.sqrt(coherence.x.total_variance * coherence.y.total_variance))


def linear_regression_r2(coherence: LayerPair) -> float:
    """Share of the variance of y that least squares on x explains, |U_x^H y|_F^2 / |y|_F^2; in [0, 1].

    References:
        Kornblith et al. (2019), table 1.
    """
    explained = (coherence.y.singular_values * coherence.projection_norms("y")).square().sum()
    return min(1.0, float(explained) / coherence.y.total_variance)


def participation_ratio(layer: LayerSpectrum) -> float:
    """Effective dimension (sum s^2)^2 / sum s^4, from 1 to the layer's rank."""
    variances = layer.singular_values**2
    return float(variances.sum() ** 2 / (variances**2).sum())


def entropy_dimension(layer: LayerSpectrum) -> float:
    """Effective dimension exp(-sum p log p), p the shares of variance; from 1 to the layer's rank."""
    shares = layer.singular_values**2
    shares = shares / shares.sum()
    return math.exp(-float((shares * shares.log()).sum()))
