"""Linear centred kernel alignment, plain and from the unbiased estimator of HSIC."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike
from svcca.core.coherence import LayerPair
from svcca.core.linalg import FLOAT64_EPS
from svcca.core.subspace import Subspace
from svcca.errors import InputError, message
from svcca.measures import chance
from svcca.measures.evaluate import evaluate_arrays
from svcca.measures.measure import Measure
from svcca.measures.similarity import Similarity, announced


@dataclass(frozen=True)
class LinearCKA(Measure):
    """Linear CKA, |S_xy|_F^2 / (|S_xx|_F |S_yy|_F); in [0, 1].

    References:
        Kornblith et al. (2019), equation 5.
    """

    name = "linear_cka"
    definition = "linear centred kernel alignment, |S_xy|^2 / (|S_xx| |S_yy|) (Kornblith et al. 2019)"
    factorisation = "none"

    def value(self, pair: LayerPair) -> float:
        """Return the alignment."""
        norms = [torch.linalg.vector_norm(layer.singular_values**2) for layer in (pair.x, pair.y)]
        value = pair.cross_norm**2 / (norms[0] * norms[1])
        return min(1.0, float(value))  # a layer with itself rounds to 1 + 2e-16

    def chance(self, pair: LayerPair) -> float:
        """Return the share of |S_xy|^2 that unrelated layers would have, summed over the blocks."""
        total = 0.0
        for block in pair.blocks:
            if min(block.ranks):
                x_variances, y_variances = block.x_values**2, block.y_values**2
                x_norm, y_norm = (float((variances**2).sum()) ** 0.5 for variances in (x_variances, y_variances))
                participation = ((x_variances.sum() / x_norm) ** 2, (y_variances.sum() / y_norm) ** 2)
                level = chance.linear_cka(*participation, block.degrees + 1)
                total += block.multiplicity * level * x_norm * y_norm
        norms = [float(torch.linalg.vector_norm(layer.singular_values**2)) for layer in (pair.x, pair.y)]
        return total / (norms[0] * norms[1])


@dataclass(frozen=True)
class DebiasedCKA(Measure):
    """Linear CKA from the unbiased estimator of HSIC; at most 1, about 0 for unrelated layers, may be negative.

    Centred rows have K 1 = 0, so the estimator needs |S_xy|^2 and the squared length of each row beside it:
    n (n - 3) HSIC_1 = |S_xy|_F^2 - n/(n - 2) sum_i |x_i|^2 |y_i|^2 + tr S_xx tr S_yy / ((n - 1)(n - 2)).

    References:
        Song et al. (2012), equation 5; Kornblith et al. (2019).
    """

    name = "linear_cka_debiased"
    definition = (
        "linear centred kernel alignment from the unbiased estimator of HSIC (Song et al. 2012); may be negative"
    )
    needs_rows = True
    factorisation = "none"
    by_frequency = False

    def value(self, pair: LayerPair) -> float:
        """Return the debiased alignment.

        Raises:
            InputError: Without the rows in memory (squared lengths are no function of the moments), for n < 4, or for a
                layer whose samples are all equally alike.
        """
        x, y = pair.x, pair.y
        if not isinstance(x, Subspace) or not isinstance(y, Subspace) or x.basis is None or y.basis is None:
            remedy = "Pass arrays, or keep the rows"
            raise InputError(message("debiased CKA", "the rows in memory", "moments", "It needs their lengths", remedy))
        n = pair.n_samples
        if n < 4:
            raise InputError(message("debiased CKA", "at least 4 samples", str(n)))
        x_lengths, y_lengths = (_squared_lengths(layer) for layer in (x, y))
        xy = _hsic(pair.cross_norm**2, x_lengths, y_lengths, n)
        own = []
        for layer, lengths in ((x, x_lengths), (y, y_lengths)):
            biased = float((layer.singular_values**4).sum())
            own.append(_hsic(biased, lengths, lengths, n))
            if own[-1] < n * FLOAT64_EPS * biased:  # zero, but for rounding
                expected, got = "samples that are not all equally alike", "a layer of such"
                cause = "As one-hot rows are: nothing is left of them once the bias is taken off"
                raise InputError(message("debiased CKA", expected, got, cause))
        return min(1.0, xy / math.sqrt(own[0] * own[1]))

    def chance(self, pair: LayerPair) -> float:
        """Return 0: the estimator is unbiased."""
        return 0.0


def _squared_lengths(layer: Subspace) -> Tensor:
    assert layer.basis is not None, "checked by the caller"
    return (layer.basis * layer.singular_values).abs().square().sum(dim=1)


def _hsic(cross: float, x_lengths: Tensor, y_lengths: Tensor, n: int) -> float:
    """Unbiased HSIC times n (n - 3)."""
    traces = x_lengths.sum() * y_lengths.sum()
    return float(cross - n / (n - 2) * (x_lengths @ y_lengths) + traces / ((n - 1) * (n - 2)))


def linear_cka(x: ArrayLike, y: ArrayLike, *, debiased: bool = False) -> Similarity:
    """Linear centred kernel alignment of two layers, |S_xy|_F^2 / (|S_xx|_F |S_yy|_F).

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        debiased: Whether to use the unbiased estimator of HSIC: about 0 for unrelated layers however wide, may be
            negative.

    Returns:
        Similarity in [0, 1] (debiased: at most 1) with ranks, chance level and warnings.

    Raises:
        InputError: As `cca`.

    References:
        Kornblith, Norouzi, Lee & Hinton (2019), equation 5; Song et al. (2012), equation 5.
    """
    return announced(evaluate_arrays(DebiasedCKA() if debiased else LinearCKA(), x, y))
