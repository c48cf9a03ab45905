"""The QR solver: two layers decomposed and paired from the triangle of their rows, without squaring a singular value.

Moments square the spectrum, so they resolve singular values down to 1.5e-8 of the largest. The triangle R of all rows
resolves them to rounding error, at two to three times the cost: for ill-conditioned layers whose small directions are
wanted.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from svcca.core.arrays import accumulator_dtype, source_eps
from svcca.core.coherence import Coherence
from svcca.core.linalg import largest_loading_positive, qr_rank_rtol, svd
from svcca.core.moments import Moments
from svcca.core.scatter import cross_product
from svcca.core.subspace import Subspace, varying_units
from svcca.errors import NonFiniteError, message


def qr_coherence(x: Tensor, y: Tensor) -> Coherence:
    """Decompose checked rows of two layers over the same samples and pair them, by QR.

    With [1, x - c_x, y - c_y] = Q R, R less its first row and column is [[R_xx, R_xy], [0, R_yy]]: the centred layers
    are Q [R_xx; 0] and Q [R_xy; R_yy]. The SVDs of these two blocks give each layer's singular values, directions and
    its basis in coordinates of Q, hence K = U_x^H U_y. A rho is in error by about eps times the condition number of the
    layers, whatever the scales of single units.

    Args:
        x: Rows of the first layer, (n_samples, p), two at least.
        y: Rows of the second layer, (n_samples, q).

    Returns:
        Coherence with every direction above the numerical rank; its subspaces hold no basis of the samples.

    Raises:
        RankError: If a layer is constant.
        NonFiniteError: If its variance overflows.

    Cost:
        2 n P^2 operations, P = 1 + p + q, a sixth more where n > 4 P, and about 20 (p^3 + q^3); memory 10 P^2 numbers
        whatever n is.

    References:
        Golub & Van Loan (2013), "Matrix Computations", section 5.2.
        Bjorck & Golub (1973), "Numerical methods for computing angles between linear subspaces".

    >>> import torch
    >>> x = torch.randn(50, 3, dtype=torch.float64)
    >>> qr_coherence(x, x @ torch.rand(3, 2, dtype=torch.float64) + 5).correlations.numpy().round(6)
    array([1., 1.])
    """
    n_samples, p = x.shape
    shift, triangle = _joint_triangle(x, y)
    mean = shift + triangle[0, 1:] / triangle[0, 0]  # the first row holds the means of the shifted rows
    centred = triangle[1:, 1:]
    x_layer, x_basis = _decompose(centred[:p, :p], mean[:p], n_samples, source_eps(x.dtype), "x")
    y_layer, y_basis = _decompose(centred[:, p:], mean[p:], n_samples, source_eps(y.dtype), "y")
    return Coherence(x_layer, y_layer, cross_product(x_basis, y_basis[:p]))


def _joint_triangle(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shift (c_x, c_y) and the factor R of [1, x - c_x, y - c_y], upper trapezoidal; Q is never formed.

    The column of ones makes centring exact: without its first row and column, R is that of the centred layers. The
    shift, the mean of the first rows, changes nothing in exact arithmetic; it keeps a mean that is larger than the
    spread from costing digits.

    Rows are folded a chunk at a time, under the R of those before (Demmel et al. 2012, section 2), so that memory does
    not grow with their number.
    """
    n_columns = 1 + x.shape[1] + y.shape[1]
    chunk = max(4 * n_columns, 512)  # going over the rows of R again, each time, adds a sixth to the work
    shift = torch.cat([side[:chunk].mean(dim=0, dtype=accumulator_dtype(side.dtype)).to(x.device) for side in (x, y)])
    triangle = shift.new_empty(0, n_columns)
    for start in range(0, x.shape[0], chunk):
        rows = [side[start : start + chunk].to(x.device, shift.dtype) for side in (x, y)]
        below = torch.cat([shift.new_ones(len(rows[0]), 1), torch.cat(rows, dim=1).sub_(shift)], dim=1)
        triangle = torch.linalg.qr(torch.cat([triangle, below]), mode="r").R
    return shift, triangle


def _decompose(block: Tensor, mean: Tensor, n_samples: int, eps: float, where: str) -> tuple[Subspace, Tensor]:
    """Return the subspace of a layer from its block of R, and its orthonormal basis in coordinates of the block."""
    variances = block.abs().square().sum(dim=0)
    total = float(variances.sum())
    if not math.isfinite(total):
        raise NonFiniteError(message(where, "squares within float64", "an overflow", remedy="Scale the activations"))
    _, noise = varying_units(variances, Moments(n_samples, mean, block[:0], eps), where)
    # Householder QR keeps the span of the columns whatever their scales, and an SVD does not: with a unit of scale
    # 1e-8 it would lose 8 digits. So the span comes from QR, and the SVD only turns axes within it.
    span: Tensor | None = None
    if block.shape[0] > block.shape[1]:
        span, block = torch.linalg.qr(block)
    basis, values, directions_h, notes = svd(block)
    floor = max(qr_rank_rtol(n_samples, len(mean), eps) * float(values[0]), math.sqrt(noise))
    rank = int((values > floor).sum())
    basis, directions = basis[:, :rank], directions_h[:rank].mH
    signs = largest_loading_positive(directions)
    basis = (basis if span is None else span @ basis) * signs
    return Subspace(n_samples, mean, values[:rank], directions * signs, total, notes=notes), basis
