"""The papers' procedures as they write them down: one pair at a time, NumPy, float64, nothing shared.

The SVD is that of an array (units, samples), as in the paper's text and the tutorials to its code; in NumPy it takes
about 1.5 times as long as the transpose's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[np.float64]


def svcca(x: Tensor, y: Tensor) -> float:
    """SVD of each layer, cut at 99% of the variance, then the mean correlation of the projections."""
    _, rho = _cca(_svd_step(_centred(x)), _svd_step(_centred(y)))
    return float(rho.mean())


def pwcca(x: Tensor, y: Tensor) -> float:
    """CCA of the whole layers, correlations weighted by how much of x (not wider than y) each variate accounts for."""
    centred = _centred(x)
    variates, rho = _cca(centred, _centred(y))
    h, _ = np.linalg.qr(variates)
    weights = np.abs(h.T @ centred).sum(axis=1)
    return float((weights * rho).sum() / weights.sum())


def linear_cka(x: Tensor, y: Tensor) -> float:
    """|X^T Y|^2 / (|X^T X| |Y^T Y|)."""
    a, b = _centred(x), _centred(y)
    return float(np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def _centred(x: Tensor) -> Array:
    rows = x.numpy().astype(np.float64)
    return rows - rows.mean(axis=0)


def _svd_step(x: Array, share: float = 0.99) -> Array:
    _, s, vh = np.linalg.svd(x.T, full_matrices=False)
    kept = int((np.cumsum(s**2) < share * np.sum(s**2)).sum()) + 1
    return (s[:kept, None] * vh[:kept]).T


def _cca(x: Array, y: Array) -> tuple[Array, Array]:
    """Canonical variates of x and the correlations, through the covariance of all columns."""
    p = x.shape[1]
    covariance = np.cov(np.concatenate([x, y], axis=1), rowvar=False)
    root_x, root_y = _inverse_root(covariance[:p, :p]), _inverse_root(covariance[p:, p:])
    a, rho, _ = np.linalg.svd(root_x @ covariance[:p, p:] @ root_y, full_matrices=False)
    return x @ root_x @ a, rho


def _inverse_root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(values)) @ vectors.T
