"""Moments of one layer and of two: sample count, means and centred scatter; they merge exactly.

Nearly every linear measure of similarity is a function of these alone. Sums are kept in float64 whatever the input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, check_same_samples, source_eps, to_rows
from svcca.core.linalg import FLOAT64_EPS
from svcca.core.scatter import FLOAT64, Precision, ScatterSums, working_dtype
from svcca.errors import InputError, message


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of one layer.

    Attributes:
        n_samples: Number of rows seen.
        mean: Mean of each feature, (n_features,), float64 (complex128 for complex rows; likewise the scatter).
        scatter: Centred, unnormalised second moment X^H X, (n_features, n_features), float64.
        source_eps: Machine epsilon of the dtype that the rows came in; it sets the rank cut-off.
        product_eps: Machine epsilon of the products that the scatter was summed from; likewise.
    """

    n_samples: int
    mean: Tensor
    scatter: Tensor
    source_eps: float
    product_eps: float = FLOAT64_EPS

    @property
    def n_features(self) -> int:
        """Width of the layer."""
        return self.mean.shape[0]

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance (ddof 1), (n_features, n_features)."""
        return self.scatter / (self.n_samples - 1)

    @classmethod
    def from_rows(cls, x: ArrayLike, *, precision: Precision = FLOAT64) -> Moments:
        """Compute the moments of an array (n_samples, n_features); one sample is enough.

        Args:
            x: Activations.
            precision: "float64" (default), or "float32" for the centred products: twice as fast, singular values below
                sqrt(p * 1.2e-7) of the largest are lost, correlations are good to about 1e-4 for condition 10.

        Raises:
            InputError: If `x` is not an array of activations.

        Cost: n p^2 operations; memory: the scatter and 16 MiB, no copy of `x`.
        """
        return moments_of(to_rows(x, "Moments x", least=1), precision)

    def merge(self, other: Moments) -> Moments:
        """Combine the moments of two sets of samples (Chan, Golub & LeVeque 1983), exact up to rounding."""
        _check_width(self.n_features, other.n_features, "x")
        n_samples = self.n_samples + other.n_samples
        shift = other.mean - self.mean
        weight = self.n_samples * other.n_samples / n_samples
        return Moments(
            n_samples,
            self.mean + shift * (other.n_samples / n_samples),
            self.scatter + other.scatter + weight * torch.outer(shift.conj(), shift),
            max(self.source_eps, other.source_eps),
            max(self.product_eps, other.product_eps),
        )


@dataclass(frozen=True, eq=False)
class JointMoments:
    """Moments of two layers over the same samples.

    Attributes:
        x: Moments of the first layer, p features.
        y: Moments of the second layer, q features.
        cross_scatter: Centred, unnormalised X^H Y, (p, q), float64.

    >>> import torch
    >>> a, b = torch.randn(50, 3), torch.randn(50, 4)
    >>> moments = JointMoments.from_rows(a[:20], b[:20]).update(a[20:], b[20:])
    >>> moments.n_samples, tuple(moments.cross_scatter.shape)
    (50, (3, 4))
    """

    x: Moments
    y: Moments
    cross_scatter: Tensor

    @property
    def n_samples(self) -> int:
        """Number of samples seen."""
        return self.x.n_samples

    @property
    def cross_covariance(self) -> Tensor:
        """Unbiased cross-covariance (ddof 1), (p, q)."""
        return self.cross_scatter / (self.n_samples - 1)

    @classmethod
    def from_rows(cls, x: ArrayLike, y: ArrayLike, *, precision: Precision = FLOAT64) -> JointMoments:
        """Compute the joint moments of arrays (n_samples, p) and (n_samples, q); one sample is enough.

        Args:
            x: Activations of the first layer.
            y: Activations of the second layer over the same samples.
            precision: Precision of the products, as in `Moments.from_rows`.

        Raises:
            InputError: If one of them is not an array of activations (wrong shape, integers, NaN), or they differ in
                their number of rows.
        """
        rows_x, rows_y = (to_rows(rows, f"JointMoments {side}", least=1) for side, rows in (("x", x), ("y", y)))
        check_same_samples(rows_x, rows_y, "JointMoments")
        return joint_moments_of(rows_x, rows_y, precision)

    def update(self, x: ArrayLike, y: ArrayLike) -> JointMoments:
        """Return the joint moments with one more batch of rows.

        Raises:
            InputError: As in `from_rows`, and for a batch of another width.
        """
        return self.merge(JointMoments.from_rows(x, y))

    def merge(self, other: JointMoments) -> JointMoments:
        """Combine the joint moments of two sets of samples; batches, processes and machines merge in any order.

        Raises:
            InputError: If their widths differ.
        """
        _check_width(self.x.n_features, other.x.n_features, "x")
        _check_width(self.y.n_features, other.y.n_features, "y")
        shift_x = other.x.mean - self.x.mean
        shift_y = other.y.mean - self.y.mean
        weight = self.n_samples * other.n_samples / (self.n_samples + other.n_samples)
        return JointMoments(
            self.x.merge(other.x),
            self.y.merge(other.y),
            self.cross_scatter + other.cross_scatter + weight * torch.outer(shift_x.conj(), shift_y),
        )


def moments_of(rows: Tensor, precision: Precision = FLOAT64) -> Moments:
    """Compute the moments of checked rows; as `Moments.from_rows`, which checks them first."""
    sums = ScatterSums([rows], 1, self_comparison=True, precision=precision)
    sums.update([rows])
    (mean,), (scatter,), _ = sums.finish()
    return Moments(sums.n_samples, mean, scatter, source_eps(rows.dtype), _product_eps(rows, precision))


def joint_moments_of(x: Tensor, y: Tensor, precision: Precision = FLOAT64) -> JointMoments:
    """Compute the joint moments of checked rows over the same samples; as `JointMoments.from_rows`."""
    rows = [x, y.to(x.device)]
    sums = ScatterSums(rows, 1, self_comparison=False, precision=precision)
    sums.update(rows)
    means, scatters, cross = sums.finish()
    moments_x, moments_y = (
        Moments(sums.n_samples, mean, scatter, source_eps(layer.dtype), _product_eps(layer, precision))
        for mean, scatter, layer in zip(means, scatters, rows, strict=True)
    )
    return JointMoments(moments_x, moments_y, cross)


def _product_eps(rows: Tensor, precision: Precision) -> float:
    """Return the machine epsilon of products over these rows."""
    return source_eps(working_dtype(rows.dtype, precision))


def _check_width(expected: int, got: int, side: str) -> None:
    if expected != got:
        raise InputError(
            message(
                f"JointMoments.merge {side}",
                f"the same width in every batch, {expected}",
                str(got),
                "The layer's output changes its width between batches",
            )
        )
