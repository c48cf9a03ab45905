"""The papers' procedures taken literally: one pair at a time, NumPy, float64, nothing shared.

The SVD is that of an array (units, samples), as in the paper's text and the tutorials to its code. In NumPy it takes
about 1.5 times as long as the SVD of the transpose.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[np.float64]


def svcca(x: Tensor, y: Tensor) -> float:
    """Truncate the SVD of each layer at 99% of the variance, then return the mean correlation of the projections."""
    _, rho = _cca(_svd_step(_centred(x)), _svd_step(_centred(y)))
    return float(rho.mean())


def fourier_svcca(x: Tensor, y: Tensor, share: float = 0.99) -> float:
    """Compute SVD and CCA of the DFT at every frequency of the plane in turn, truncated over all together."""
    a, b = (np.fft.fft2(_channels_centred(maps), norm="ortho") for maps in (x, y))
    height, width = a.shape[2:]
    places = [(i, j) for i in range(height) for j in range(width)]
    bases, cuts = [], []
    for layer in (a, b):
        svds = [np.linalg.svd(layer[:, :, i, j], full_matrices=False)[:2] for i, j in places]
        s = np.sort(np.concatenate([values for _, values in svds]))[::-1]
        kept = int((np.cumsum(s**2) < share * np.sum(s**2)).sum())
        bases.append(svds)
        cuts.append(s[min(kept, len(s) - 1)] * (1 - 1e-9))  # a frequency and its negative stay together
    total, ranks = 0.0, [0, 0]
    for (u, s), (v, t) in zip(*bases, strict=True):
        left, right = u[:, s >= cuts[0]], v[:, t >= cuts[1]]
        ranks = [ranks[0] + left.shape[1], ranks[1] + right.shape[1]]
        total += float(np.linalg.svd(left.conj().T @ right, compute_uv=False).sum())
    return total / min(ranks)


def pwcca(x: Tensor, y: Tensor) -> float:
    """Return the mean correlation, weighted by how much of x (not wider than y) each variate accounts for."""
    centred = _centred(x)
    variates, rho = _cca(centred, _centred(y))
    h, _ = np.linalg.qr(variates)
    weights = np.abs(h.T @ centred).sum(axis=1)
    return float((weights * rho).sum() / weights.sum())


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Return |X^T Y|^2 / (|X^T X| |Y^T Y|)."""
    a, b = _centred(x), _centred(y)
    return float(np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def _channels_centred(maps: Tensor) -> Array:
    values = maps.numpy().astype(np.float64)
    return values - values.mean(axis=(0, 2, 3), keepdims=True)


def _centred(x: Tensor) -> Array:
    rows = x.numpy().astype(np.float64)
    return rows - rows.mean(axis=0)


def _svd_step(x: Array, share: float = 0.99) -> Array:
    _, s, vh = np.linalg.svd(x.T, full_matrices=False)
    kept = int((np.cumsum(s**2) < share * np.sum(s**2)).sum()) + 1
    return (s[:kept, None] * vh[:kept]).T


def _cca(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the canonical variates of x and the correlations, from the covariance of all columns."""
    p = x.shape[1]
    covariance = np.cov(np.concatenate([x, y], axis=1), rowvar=False)
    root_x, root_y = _inverse_root(covariance[:p, :p]), _inverse_root(covariance[p:, p:])
    a, rho, _ = np.linalg.svd(root_x @ covariance[:p, p:] @ root_y, full_matrices=False)
    return x @ root_x @ a, rho


def _inverse_root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(values)) @ vectors.T
