"""Floors: the bare torch products and factorisations of each answer, on centred data in the library's dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from svcca.core.subspace import SVDStep

Floor = Callable[[], object]


def centred(x: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the rows less their mean."""
    wide = x.double()
    return (wide - wide.mean(dim=0)).to(dtype)


def kept_rank(scatter: Tensor, step: SVDStep) -> int:
    """Return the number of directions that the SVD step keeps."""
    values = torch.linalg.eigvalsh(scatter).flip(0)
    share = torch.cumsum(values, dim=0) / values.sum()
    return min(int((share < step.retained_variance).sum()) + 1, len(values))


def pair(x: Tensor, y: Tensor, step: SVDStep, dtype: torch.dtype = torch.float64, *, weights: bool = False) -> Floor:
    """Compute the floor of one pair from moments.

    Three products over the samples: X'X, Y'Y, X'Y. Two eigendecompositions. Two products that whiten X'Y. One SVD.
    Two products that give the directions in the layers' units, or the one that gives the weights of PWCCA.
    """
    a, b = centred(x, dtype), centred(y, dtype)
    ranks = [kept_rank((rows.mH @ rows).double(), step) for rows in (a, b)]

    def floor() -> object:
        xx, yy, xy = ((left.mH @ right).double() for left, right in ((a, a), (b, b), (a, b)))
        vx, vy = (_leading(scatter, rank) for scatter, rank in zip((xx, yy), ranks, strict=True))
        u, _, vh = torch.linalg.svd(vx.mH @ xy @ vy, full_matrices=False)
        return vx @ u if weights else (vx @ u, vy @ vh.mH)

    return floor


def cka(x: Tensor, y: Tensor) -> Floor:
    """Compute the floor of linear CKA: the three products over the samples, and their norms."""
    a, b = centred(x), centred(y)
    return lambda: [torch.linalg.vector_norm(left.mH @ right) for left, right in ((a, b), (a, a), (b, b))]


def grid(rows: Sequence[Tensor], columns: Sequence[Tensor], step: SVDStep) -> Floor:
    """Compute the floor of all pairs of row and column layers with the rows in memory.

    For each layer: X'X, one eigendecomposition, the basis X W of the samples. For all pairs: one product of the bases.
    For each pair: the singular values of its block.
    """
    layers = [centred(x) for x in (*rows, *columns)]
    ranks = [kept_rank(x.mH @ x, step) for x in layers]

    def floor() -> object:
        bases = [x @ _leading(x.mH @ x, rank) for x, rank in zip(layers, ranks, strict=True)]
        left, right = torch.cat(bases[: len(rows)], dim=1), torch.cat(bases[len(rows) :], dim=1)
        blocks = (left.mH @ right).split(ranks[: len(rows)])
        return [torch.linalg.svdvals(k) for block in blocks for k in block.split(ranks[len(rows) :], dim=1)]

    return floor


def _leading(scatter: Tensor, rank: int) -> Tensor:
    """Return the leading eigenvectors over the roots of their eigenvalues."""
    values, vectors = torch.linalg.eigh(scatter)
    return vectors[:, -rank:] / values[-rank:].sqrt()
