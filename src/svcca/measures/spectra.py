"""The spectrum of one layer (PCA), and of the cross-covariance of two (PLS)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svcca.core.arrays import ArrayLike, to_numpy, to_rows
from svcca.core.coherence import LayerSpectrum
from svcca.core.linalg import largest_loading_positive, svd
from svcca.core.moments import moments_of
from svcca.core.solvers import coherence_of
from svcca.core.subspace import Subspace, SVDStep, decompose


@dataclass(frozen=True, eq=False)
class PCAResult:
    """Principal directions of one layer, and how many it effectively uses.

    Attributes:
        singular_values: Of the centred layer, (rank,), float64, largest first; s^2 / (n - 1) is a variance.
        directions: Orthonormal directions in the layer's units, (p, rank); the entry of largest magnitude is positive.
        explained_variance_ratio: Share of the variance along each, (rank,).
        mean: Mean of each unit, (p,).
        rank_99: Directions that hold 99% of the variance: the paper's intrinsic dimension.
        participation_ratio: (sum s^2)^2 / sum s^4.
        entropy_dimension: exp(-sum p log p) of the shares of variance p.
        n_samples: Number of samples.
    """

    singular_values: npt.NDArray[np.float64]
    directions: npt.NDArray[Any]
    explained_variance_ratio: npt.NDArray[np.float64]
    mean: npt.NDArray[Any]
    rank_99: int
    participation_ratio: float
    entropy_dimension: float
    n_samples: int


def pca(x: ArrayLike) -> PCAResult:
    """Principal component analysis of one layer: the SVD step alone, and its effective dimensions.

    Args:
        x: Activations (n_samples, p).

    Raises:
        InputError: For arrays that are no activations, and for a constant layer.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 3)) @ np.diag([10, 1, 0.01])
    >>> pca(x).rank_99
    1
    """
    rows = to_rows(x, "pca x")
    wide = rows.shape[1] > rows.shape[0]
    layer = decompose(rows, "pca x") if wide else Subspace.from_moments(moments_of(rows), "pca x")
    return PCAResult(
        singular_values=to_numpy(layer.singular_values),
        directions=to_numpy(layer.directions),
        explained_variance_ratio=to_numpy(layer.explained_variance_ratio),
        mean=to_numpy(layer.mean),
        rank_99=layer.truncate(SVDStep(0.99)).rank,
        participation_ratio=participation_ratio(layer),
        entropy_dimension=entropy_dimension(layer),
        n_samples=layer.n_samples,
    )


def participation_ratio(layer: LayerSpectrum) -> float:
    """Return the effective dimension (sum s^2)^2 / sum s^4, from 1 to the layer's rank."""
    variances = layer.singular_values**2
    return float(variances.sum() ** 2 / (variances**2).sum())


def entropy_dimension(layer: LayerSpectrum) -> float:
    """Return the effective dimension exp(-sum p log p), p the shares of variance; from 1 to the layer's rank."""
    shares = layer.singular_values**2
    shares = shares / shares.sum()
    return math.exp(-float((shares * shares.log()).sum()))


@dataclass(frozen=True, eq=False)
class PLSResult:
    """Partial least squares of two layers: the directions along which they covary most.

    Attributes:
        covariances: Singular values of the cross-covariance, (r,), float64, largest first.
        x_directions: Orthonormal directions in units of x, (p, r); the entry of largest magnitude is positive.
        y_directions: The same for y, (q, r), with the sign that makes each covariance positive.
        covariance_ratio: Share of the squared cross-covariance along each pair, (r,).
        x_mean: Mean of each unit of x, (p,).
        y_mean: Mean of each unit of y, (q,).
        n_samples: Number of samples.
    """

    covariances: npt.NDArray[np.float64]
    x_directions: npt.NDArray[Any]
    y_directions: npt.NDArray[Any]
    covariance_ratio: npt.NDArray[np.float64]
    x_mean: npt.NDArray[Any]
    y_mean: npt.NDArray[Any]
    n_samples: int


def pls(x: ArrayLike, y: ArrayLike) -> PLSResult:
    """Partial least squares (SVD of the cross-covariance) of two layers; magnitude counts, widths may differ.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.

    Raises:
        InputError: As `cca`.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> pls(x, x[:, :2]).covariances.shape
    (2,)
    """
    coherence = coherence_of(x, y)
    a, s, bh, _ = svd(coherence.cross_scatter)
    x_directions = coherence.x.directions.to(a.dtype) @ a
    signs = largest_loading_positive(x_directions)
    return PLSResult(
        covariances=to_numpy(s) / (coherence.n_samples - 1),
        x_directions=to_numpy(x_directions * signs),
        y_directions=to_numpy((coherence.y.directions.to(a.dtype) @ bh.mH) * signs),
        covariance_ratio=to_numpy(s**2 / (s**2).sum()),
        x_mean=to_numpy(coherence.x.mean),
        y_mean=to_numpy(coherence.y.mean),
        n_samples=coherence.n_samples,
    )
