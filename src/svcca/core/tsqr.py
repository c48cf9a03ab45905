"""The tall-skinny QR route: two layers' joint R factor, in one pass, without squaring a singular value.

Moments square the spectrum, so they resolve singular values down to 1.5e-8 of the largest. This route keeps the
triangle R of all rows instead and resolves them to rounding error, at two to three times the cost. For ill-conditioned
layers whose small directions are wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from svcca.core.arrays import (
    ArrayLike,
    accumulator_dtype,
    check_same_samples,
    check_samples,
    source_eps,
    to_rows,
)
from svcca.core.coherence import Coherence
from svcca.core.linalg import FLOAT64_EPS, largest_loading_positive, rank_rtol, svd
from svcca.core.moments import Moments
from svcca.core.scatter import cross_product
from svcca.core.subspace import Subspace, varying_units
from svcca.errors import InputError, NonFiniteError, message

Batch = tuple[Tensor, Tensor]
"""Rows of both layers, checked."""


@dataclass(frozen=True, eq=False)
class JointQR:
    """R factor of two layers over the same samples, [1, x - c_x, y - c_y] = Q R; Q is never formed.

    The column of ones makes centring exact: without its first row and column, R is that of the centred layers. The
    constant shift c, the mean of the first rows seen, changes nothing in exact arithmetic; it keeps a mean that is
    larger than the spread from costing digits.

    Attributes:
        n_samples: Number of samples seen.
        x_features: Width p of the first layer.
        shift: What was subtracted from every row, c_x and c_y, (p + q,).
        factor: R, (min(n_samples, 1 + p + q), 1 + p + q), upper trapezoidal, float64 or complex128 (for both layers,
            if one is complex).
        x_eps: Machine epsilon of the dtype that rows of x came in.
        y_eps: Machine epsilon of the dtype that rows of y came in.

    References:
        Golub & Van Loan (2013), "Matrix Computations", section 5.2.
        Demmel, Grigori, Hoemmen & Langou (2012), "Communication-optimal parallel and sequential QR and LU
        factorizations", section 2: R factors stacked and factorised again, in any order.

    >>> import torch
    >>> a, b = torch.randn(50, 3), torch.randn(50, 4)
    >>> joint = JointQR.from_rows(a[:20], b[:20]).update(a[20:], b[20:])
    >>> joint.n_samples, tuple(joint.factor.shape), tuple(joint.to_coherence().matrix.shape)
    (50, (8, 8), (3, 4))
    """

    n_samples: int
    x_features: int
    shift: Tensor
    factor: Tensor
    x_eps: float
    y_eps: float

    @property
    def y_features(self) -> int:
        """Width q of the second layer."""
        return self.shift.shape[0] - self.x_features

    @property
    def mean(self) -> Tensor:
        """Means of the units of x, then of y, (p + q,): the first row of R holds those of the shifted rows."""
        return self.shift + self.factor[0, 1:] / self.factor[0, 0]

    @classmethod
    def from_rows(cls, x: ArrayLike, y: ArrayLike) -> JointQR:
        """R factor of arrays (n_samples, p) and (n_samples, q); one sample is enough.

        Cost:
            2 n P^2 operations, P = 1 + p + q, and a sixth more where n > 4 P, as rows are folded 4 P at a time; memory
            10 P^2 numbers whatever n is.

        Raises:
            InputError: For arrays that are no activations: wrong shape, integers, NaN, unequal rows.
        """
        rows = _checked(x, y, "JointQR")
        return cls._before(rows)._folded(rows)

    def update(self, x: ArrayLike, y: ArrayLike) -> JointQR:
        """R factor with one more batch of rows.

        Cost:
            2 (b + P) P^2 operations for b rows: for batches far smaller than P use a `QRAccumulator`.

        Raises:
            InputError: As `from_rows`, and for a batch of another width.
        """
        rows = _checked(x, y, "JointQR")
        self._check_widths(_widths(rows), "JointQR.update")
        return self._folded(rows)

    def merge(self, other: JointQR) -> JointQR:
        """R factor of both sets of samples together; batches, processes and machines merge in any order.

        Cost:
            Under 4 P^3 operations, P = 1 + p + q.

        Raises:
            InputError: If their widths differ.
        """
        self._check_widths((other.x_features, other.y_features), "JointQR.merge")
        shift = other.shift.to(self.shift.device) - self.shift
        moved = other.factor.to(self.factor.device, torch.promote_types(other.factor.dtype, shift.dtype), copy=True)
        moved[0, 1:] += moved[0, 0] * shift  # the R factor of other's rows less this side's shift
        return replace(
            self,
            n_samples=self.n_samples + other.n_samples,
            factor=_triangle(torch.cat([self.factor, moved])),
            x_eps=max(self.x_eps, other.x_eps),
            y_eps=max(self.y_eps, other.y_eps),
        )

    def to_coherence(self) -> Coherence:
        """Decompose both layers and pair them, from R alone.

        R less its first row and column is [[R_xx, R_xy], [0, R_yy]]: the centred layers are Q [R_xx; 0] and
        Q [R_xy; R_yy]. The SVDs of these two blocks give each layer's singular values, directions and its basis in
        coordinates of Q, hence K = U_x^H U_y. A rho is in error by about eps times the condition number of the layers,
        whatever the scales of single units.

        Returns:
            Coherence with every direction above the numerical rank; its subspaces hold no basis of the samples.

        Raises:
            SampleError: For one sample.
            RankError: If a layer is constant.
            NonFiniteError: If its variance overflows.

        Cost:
            About 20 (p^3 + q^3) operations.

        References:
            Bjorck & Golub (1973), "Numerical methods for computing angles between linear subspaces".
        """
        check_samples(self.n_samples, "x")
        p, mean, centred = self.x_features, self.mean, self.factor[1:, 1:]
        x, basis_x = _decomposed(centred[:p, :p], mean[:p], self.n_samples, self.x_eps, "x")
        y, basis_y = _decomposed(centred[:, p:], mean[p:], self.n_samples, self.y_eps, "y")
        return Coherence(x, y, cross_product(basis_x, basis_y[:p]))

    @classmethod
    def _before(cls, rows: Batch) -> JointQR:
        """No sample yet, with the widths and the shift that suit the first rows."""
        x, y = rows
        first = _chunk_rows(x.shape[1] + y.shape[1])
        means = [side[:first].mean(dim=0, dtype=accumulator_dtype(side.dtype)).to(x.device) for side in rows]
        shift = torch.cat(means)
        factor = torch.empty(0, 1 + shift.shape[0], dtype=shift.dtype, device=shift.device)
        return cls(0, x.shape[1], shift, factor, source_eps(x.dtype), source_eps(y.dtype))

    def _folded(self, rows: Batch) -> JointQR:
        """Fold rows of any number, a chunk at a time."""
        chunk = _chunk_rows(self.shift.shape[0])
        joint = self
        for start in range(0, rows[0].shape[0], chunk):
            joint = joint._extended([(rows[0][start : start + chunk], rows[1][start : start + chunk])])
        return joint

    def _extended(self, batches: Sequence[Batch]) -> JointQR:
        """Factorise R and the rows of some batches below it, in one piece."""
        sides = list(zip(*batches, strict=True))
        dtypes = [self.factor.dtype, *(accumulator_dtype(rows.dtype) for side in sides for rows in side)]
        n_new, top = sum(x.shape[0] for x in sides[0]), self.factor.shape[0]
        shape = (top + n_new, self.factor.shape[1])
        stacked = torch.empty(shape, dtype=reduce(torch.promote_types, dtypes), device=self.factor.device)
        stacked[:top] = self.factor
        stacked[top:, 0] = 1
        blocks = (slice(1, 1 + self.x_features), slice(1 + self.x_features, None))
        for block, side in zip(blocks, sides, strict=True):
            start = top
            for rows in side:
                stacked[start : start + rows.shape[0], block] = rows
                start += rows.shape[0]
        stacked[top:, 1:] -= self.shift
        x_eps, y_eps = (max(source_eps(rows.dtype) for rows in side) for side in sides)
        return replace(
            self,
            n_samples=self.n_samples + n_new,
            factor=_triangle(stacked),
            x_eps=max(self.x_eps, x_eps),
            y_eps=max(self.y_eps, y_eps),
        )

    def _check_widths(self, widths: tuple[int, int], where: str) -> None:
        for side, expected, got in zip("xy", (self.x_features, self.y_features), widths, strict=True):
            if expected != got:
                raise InputError(
                    message(
                        f"{where} {side}",
                        f"the same width in every batch, {expected}",
                        str(got),
                        "The layer's output changes its width between batches",
                    )
                )


class QRAccumulator:
    """Gathers batches until a factorisation is worth its while: for streams of small ones.

    Cost:
        2 n P^2 operations and a sixth more, P = 1 + p + q, however small the batches; memory 14 P^2 numbers at most.

    >>> import torch
    >>> accumulator = QRAccumulator()
    >>> for _ in range(100):
    ...     accumulator.update(torch.randn(1, 3), torch.randn(1, 2))
    >>> accumulator.finish().n_samples
    100
    """

    def __init__(self) -> None:
        self.n_samples = 0
        self._joint: JointQR | None = None
        self._waiting: list[Batch] = []

    def update(self, x: ArrayLike, y: ArrayLike) -> None:
        """Take one batch in; nothing changes if it is refused.

        Raises:
            InputError: For arrays that are no activations, or of another width than before.
        """
        rows = _checked(x, y, "QRAccumulator")
        joint = self._joint or JointQR._before(rows)
        joint._check_widths(_widths(rows), "QRAccumulator.update")
        chunk, n_new = _chunk_rows(joint.shift.shape[0]), rows[0].shape[0]
        if self._waiting and self.n_samples - joint.n_samples + n_new > chunk:
            joint = joint._extended(self._waiting)
            self._waiting = []
        if n_new >= chunk:
            joint = joint._folded(rows)
        else:
            # A copy: loaders and hooks reuse their memory.
            self._waiting.append((rows[0].clone(), rows[1].clone()))
        self._joint = joint
        self.n_samples += n_new

    def finish(self) -> JointQR:
        """Give the R factor of everything so far; more may follow.

        Raises:
            SampleError: If no batch came.
        """
        check_samples(self.n_samples, "QRAccumulator", least=1)
        assert self._joint is not None
        if self._waiting:
            self._joint = self._joint._extended(self._waiting)
            self._waiting = []
        return self._joint


def _checked(x: ArrayLike, y: ArrayLike, where: str) -> Batch:
    rows_x, rows_y = to_rows(x, f"{where} x", least=1), to_rows(y, f"{where} y", least=1)
    check_same_samples(rows_x, rows_y, where)
    return rows_x, rows_y


def _widths(rows: Batch) -> tuple[int, int]:
    return rows[0].shape[1], rows[1].shape[1]


def _chunk_rows(n_features: int) -> int:
    """Rows to fold at a time: enough that going over the P rows of R again, each time, adds a sixth to the work."""
    return max(4 * (1 + n_features), 512)


def _triangle(rows: Tensor) -> Tensor:
    """R factor, (min(n_rows, n_columns), n_columns)."""
    factor: Tensor = torch.linalg.qr(rows, mode="r").R
    return factor


def _decomposed(block: Tensor, mean: Tensor, n_samples: int, eps: float, where: str) -> tuple[Subspace, Tensor]:
    """Subspace of a layer from its block of R, and its orthonormal basis in the coordinates of the block's rows."""
    variances = block.abs().square().sum(dim=0)
    total = float(variances.sum())
    if not math.isfinite(total):
        raise NonFiniteError(message(where, "squares within float64", "an overflow", remedy="Scale the activations"))
    # Of moments, only what is passed here is looked at: no scatter matrix is formed.
    _, noise = varying_units(variances, Moments(n_samples, mean, block[:0], eps), where)
    # Householder QR keeps the span of the columns whatever their scales, and an SVD does not: with a unit of scale
    # 1e-8 it would lose 8 digits. So the span comes from QR, and the SVD only turns axes within it.
    span: Tensor | None = None
    if block.shape[0] > block.shape[1]:
        span, block = torch.linalg.qr(block)
    basis, values, directions_h, notes = svd(block)
    floor = max(_rank_rtol(n_samples, mean.shape[0], eps) * float(values[0]), math.sqrt(noise))
    rank = int((values > floor).sum())
    basis, directions = basis[:, :rank], directions_h[:rank].mH
    signs = largest_loading_positive(directions)
    basis = (basis if span is None else span @ basis) * signs
    return Subspace(n_samples, mean, values[:rank], directions * signs, total, notes=notes), basis


def _rank_rtol(n_samples: int, n_features: int, source_eps: float) -> float:
    """Give the relative cut below which a singular value of R counts as zero.

    As `linalg.rank_rtol`, but nothing was squared: what is left beside the rounding of the data is that of the
    factorisations. Each fold rounds afresh, so their noise grows as the root of their number, which is n_samples at
    most: 0.3 sqrt(n_samples) eps64 is measured for rows folded one by one.
    """
    size = min(n_samples, n_features)
    return max(rank_rtol(size, source_eps, 0.0), (size + math.sqrt(n_samples)) * FLOAT64_EPS)
