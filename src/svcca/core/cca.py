"""Canonical correlation analysis of two layers: correlations, directions, and what they are worth."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from svcca.core import measures
from svcca.core.arrays import ArrayLike, to_numpy
from svcca.core.chance import cca_mean
from svcca.core.coherence import Coherence
from svcca.core.linalg import largest_loading_positive
from svcca.core.measures import Similarity, get_measure
from svcca.core.moments import JointMoments
from svcca.core.subspace import check_retained_variance
from svcca.errors import SvccaWarning

_Result = TypeVar("_Result", bound=Similarity)


@dataclass(frozen=True, eq=False)
class CCAResult(Similarity):
    """Canonical correlations and directions of two layers; `similarity` is the mean correlation.

    Attributes:
        correlations: Canonical correlations, (r,), float64, largest first, in [0, 1]; r = min(x_rank, y_rank).
        x_directions: Canonical directions in units of x, (p, r): (x - x_mean) @ x_directions are uncorrelated columns
            of unit variance (ddof 1). The entry of largest magnitude in each is positive.
        y_directions: The same for y, (q, r), with the sign that makes each correlation positive.
        x_mean: Mean of each unit of x, (p,).
        y_mean: Mean of each unit of y, (q,).
        retained_variance: Share of variance that the SVD step kept; 1 without it.
    """

    correlations: npt.NDArray[np.float64]
    x_directions: npt.NDArray[Any]
    y_directions: npt.NDArray[Any]
    x_mean: npt.NDArray[Any]
    y_mean: npt.NDArray[Any]
    retained_variance: float

    @classmethod
    def from_coherence(cls, coherence: Coherence, retained_variance: float = 1.0) -> CCAResult:
        """Canonical correlations and directions from the coherence of two layers, after the SVD step."""
        check_retained_variance(retained_variance)
        cut = coherence.keep(retained_variance)
        a, rho, bh = cut.factors
        unit = math.sqrt(cut.n_samples - 1)
        x_directions = cut.x.whitener @ a * unit
        signs = largest_loading_positive(x_directions)
        y_directions = cut.y.whitener @ bh.mH * unit
        level = cca_mean(cut.x.rank, cut.y.rank, cut.n_samples)
        return cls(
            measure="cca" if retained_variance == 1 else "svcca",
            similarity=float(rho.mean()),
            chance=level,
            x_rank=cut.x.rank,
            y_rank=cut.y.rank,
            n_samples=cut.n_samples,
            warnings=tuple(measures.doubts(cut, level, "x and y", from_correlations=True)),
            correlations=to_numpy(rho),
            x_directions=to_numpy(x_directions * signs),
            y_directions=to_numpy(y_directions * signs),
            x_mean=to_numpy(cut.x.mean),
            y_mean=to_numpy(cut.y.mean),
            retained_variance=retained_variance,
        )

    @classmethod
    def from_moments(cls, moments: JointMoments, retained_variance: float = 1.0) -> CCAResult:
        """Canonical correlations and directions from joint moments: no sample is needed any more."""
        return cls.from_coherence(Coherence.from_moments(moments), retained_variance)


def cca(x: ArrayLike, y: ArrayLike) -> CCAResult:
    """Canonical correlation analysis of two layers, all directions above the numerical rank.

    Correlations are the singular values of U_x^H U_y, U the orthonormal bases of the centred layers.

    Args:
        x: Activations (n_samples, p): NumPy, torch on any device, or anything with `__dlpack__` or `__array__`.
        y: Activations (n_samples, q) of the same samples in the same order.

    Returns:
        Correlations in [0, 1], largest first, with directions, ranks, chance level and warnings, as NumPy float64.

    Raises:
        InputError: For arrays that are no activations (shape, integers), NaN, one sample, unequal rows, rank 0.

    Cost:
        2 n (p^2 + q^2 + p q) operations and two eigendecompositions; for p > n the n x n Gram matrix instead.

    References:
        Hotelling (1936), "Relations between two sets of variates".

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> cca(x, x @ [[1., 2.], [0., 1.], [1., 0.]] + 5).correlations.round(6)
    array([1., 1.])
    """
    return _announced(CCAResult.from_coherence(Coherence.from_rows(x, y)))


def svcca(x: ArrayLike, y: ArrayLike, *, retained_variance: float = 0.99) -> CCAResult:
    """Singular vector CCA of two layers: both cut to their leading singular directions, then CCA.

    `similarity` is the mean correlation, sum(rho) / min(x_rank, y_rank).

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        retained_variance: Share of each layer's variance to keep, in (0, 1]. Default 0.99.

    Returns:
        As `cca`; `x_rank` and `y_rank` are the kept directions. Read them beside the similarity: a high mean over few
        directions and over many are different findings.

    Raises:
        InputError: As `cca`, and for a share outside (0, 1].

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 2.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 4))
    >>> result = svcca(x, x[:, ::-1] * 3 + 1)
    >>> round(result.similarity, 6), result.x_rank, result.y_rank
    (1.0, 4, 4)
    """
    return _announced(CCAResult.from_coherence(Coherence.from_rows(x, y), retained_variance))


def pwcca(x: ArrayLike, y: ArrayLike) -> Similarity:
    """Projection-weighted CCA of two layers.

    sum(a_i rho_i) / sum(a_i) over all canonical correlations; a_i = sum_j |<h_i, z_j>| is how much of the units z_j of
    the narrower layer the canonical variate h_i accounts for.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.

    Returns:
        Similarity in [0, 1] with ranks, chance level and warnings.

    Raises:
        InputError: As `cca`.

    References:
        Morcos, Raghu & Bengio (2018), section 2.2.
    """
    return _announced(_measured("pwcca", x, y))


def linear_cka(x: ArrayLike, y: ArrayLike) -> Similarity:
    """Linear centred kernel alignment of two layers, |S_xy|_F^2 / (|S_xx|_F |S_yy|_F).

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.

    Returns:
        Similarity in [0, 1] with ranks, chance level and warnings.

    Raises:
        InputError: As `cca`.

    References:
        Kornblith, Norouzi, Lee & Hinton (2019), equation 5.
    """
    return _announced(_measured("linear_cka", x, y))


def _measured(name: str, x: ArrayLike, y: ArrayLike) -> Similarity:
    return measures.evaluate(get_measure(name), Coherence.from_rows(x, y), retained_variance=1.0)


def _announced(result: _Result) -> _Result:
    """Issue what the result records, so that nobody needs to look to be warned."""
    for text in result.warnings:
        warnings.warn(text, SvccaWarning, stacklevel=3)
    return result
