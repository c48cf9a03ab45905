"""Joint moments: sample count, means and centred scatter; they merge exactly.

Nearly every linear measure of similarity is a function of these alone. Sums are kept in float64 whatever the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from svcca.core.arrays import (
    ArrayLike,
    accumulator_dtype,
    check_same_samples,
    source_eps,
    to_rows,
)
from svcca.core.linalg import FLOAT64_EPS
from svcca.errors import InputError, message, unknown_option

Precision = Literal["float64", "float32"]
"""Of the products over samples, the bulk of the work."""
FLOAT64: Precision = "float64"


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of one layer.

    Attributes:
        n_samples: Number of rows seen.
        mean: Mean of each feature, (n_features,), float64.
        scatter: Centred, unnormalised second moment X^H X, (n_features, n_features), float64.
        source_eps: Machine epsilon of the dtype that the rows came in; sets the rank cut-off.
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
        """Moments of an array (n_samples, n_features).

        Args:
            x: Activations.
            precision: "float64" (default), or "float32" for the centred products: twice as fast, singular values below
                sqrt(p * 1.2e-7) of the largest are lost, correlations are good to about 1e-4 for condition 10.

        Cost: 2 n p^2 operations, a copy of `x` in that precision.
        """
        rows = to_rows(x, "Moments x", least=1)
        mean, centred = centre(rows, precision)
        return cls._of(rows, mean, centred)

    @classmethod
    def _of(cls, rows: Tensor, mean: Tensor, centred: Tensor) -> Moments:
        scatter = (centred.mH @ centred).to(mean.dtype)
        return cls(rows.shape[0], mean, scatter, source_eps(rows.dtype), source_eps(centred.dtype))

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of samples together (Chan, Golub & LeVeque 1983), exact up to rounding."""
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
        """Joint moments of arrays (n_samples, p) and (n_samples, q).

        Args:
            x: Activations of the first layer.
            y: Activations of the second layer over the same samples.
            precision: As in `Moments.from_rows`.

        Raises:
            InputError: For arrays that are no activations: wrong shape, integers, NaN, unequal rows.
        """
        rows_x, rows_y = (to_rows(rows, f"JointMoments {side}", least=1) for side, rows in (("x", x), ("y", y)))
        check_same_samples(rows_x, rows_y, "JointMoments")
        mean_x, centred_x = centre(rows_x, precision)
        mean_y, centred_y = centre(rows_y, precision)
        cross = cross_product(centred_x, centred_y)
        return cls(
            Moments._of(rows_x, mean_x, centred_x),
            Moments._of(rows_y, mean_y, centred_y),
            cross.to(accumulator_dtype(cross.dtype)),
        )

    def update(self, x: ArrayLike, y: ArrayLike) -> JointMoments:
        """Joint moments with one more batch of rows."""
        return self.merge(JointMoments.from_rows(x, y))

    def merge(self, other: JointMoments) -> JointMoments:
        """Joint moments of both sets of samples together; batches, processes and machines merge in any order."""
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


def centre(rows: Tensor, precision: Precision = FLOAT64) -> tuple[Tensor, Tensor]:
    """Mean of each feature, as float64, and the centred rows, in the precision asked for; the input is left as it is.

    The mean is summed in that precision too, about the first row: to 1e-7 of the spread in float32.

    Raises:
        UnknownOptionError: If the precision is neither "float64" nor "float32".
    """
    check_precision(precision)
    # The first row off first: what is constant becomes exactly zero, and a large mean costs the sums no digit.
    wide = accumulator_dtype(rows.dtype)
    origin = rows[0].to(wide)
    if precision == "float64":
        shifted = rows - origin
    elif rows.dtype == wide:
        shifted = (rows - origin).to(torch.complex64 if rows.is_complex() else torch.float32)
    else:
        shifted = rows.to(torch.complex64 if rows.is_complex() else torch.float32, copy=True)
        shifted.sub_(origin.to(shifted.dtype))
    mean = column_mean(shifted)
    return origin + mean, shifted.sub_(mean)


def check_precision(precision: str) -> None:
    """Raise UnknownOptionError unless the precision is "float64" or "float32"."""
    if precision not in ("float64", "float32"):
        raise unknown_option("precision", "precision", precision, ["float64", "float32"])


def column_mean(rows: Tensor) -> Tensor:
    """Mean of each column, as a product with ones: a strided reduction over rows takes ten times as long."""
    return rows.new_ones(rows.shape[0]) @ rows / rows.shape[0]


def cross_product(x: Tensor, y: Tensor) -> Tensor:
    """X^H Y on the device of x; a real side is promoted where the other is complex."""
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype).mH @ y.to(x.device, dtype)


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
