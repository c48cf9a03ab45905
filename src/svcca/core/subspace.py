"""The SVD step: one decomposition of a layer, cut to the directions that hold its variance."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, check_samples, check_sizes, source_eps, to_rows
from svcca.core.linalg import (
    FLOAT32_EPS,
    eigh_descending,
    largest_loading_positive,
    orthonormalised,
    qr_rank_rtol,
    rank_rtol,
    svd,
)
from svcca.core.moments import Moments
from svcca.core.scatter import FLOAT64, Precision, centre, gram
from svcca.errors import Doubt, InputError, NonFiniteError, RankError, message, unknown_option

CutBy = Literal["variance", "singular_values"]
"""Quantity of which the SVD step keeps a share."""


@dataclass(frozen=True)
class SVDStep:
    """The SVD step: which of a layer's leading singular directions are kept.

    Attributes:
        retained_variance: Share to hold, in (0, 1]: the fewest directions that reach it are kept; 1 keeps the numerical
            rank. Default 0.99.
        n_components: Number of directions to keep instead.
        by: The quantity shared: "variance" (default), the squared singular values (the NeurIPS text), or
            "singular_values" themselves (its appendix).

    Raises:
        InputError: If the share is outside (0, 1], or the number is not a positive integer.
        UnknownOptionError: If `by` is neither.
    """

    retained_variance: float = 0.99
    n_components: int | None = None
    by: CutBy = "variance"

    def __post_init__(self) -> None:
        """Check the choices."""
        if not 0 < self.retained_variance <= 1:
            got = str(self.retained_variance)
            raise InputError(message("retained_variance", "a share in (0, 1]", got, remedy="The paper uses 0.99"))
        k = self.n_components
        if k is not None and (not isinstance(k, int) or isinstance(k, bool) or k < 1):
            raise InputError(message("n_components", "a positive integer", repr(k)))
        if self.by not in ("variance", "singular_values"):
            raise unknown_option("SVD step", "by", self.by, ["variance", "singular_values"])


ILL_CONDITIONED = 1e3
"""Condition of the kept directions above which scatter matrices, whose error grows with its square, give way to QR."""

WHOLE = SVDStep(retained_variance=1.0)
"""No cut: every direction above the numerical rank."""


@dataclass(frozen=True, eq=False)
class Subspace:
    """Singular values and directions of a centred layer, X = U diag(s) V^H.

    Attributes:
        n_samples: Number of samples n.
        mean: Mean of each feature, (n_features,).
        singular_values: Kept singular values s, (rank,), largest first; s^2 / (n - 1) is a variance.
        directions: Kept right singular vectors V, (n_features, rank).
        total_variance: Sum of *all* squared singular values, kept or not.
        basis: Kept left singular vectors U, (n_samples, rank), where the rows are in memory; else None.
        notes: What a reader of a result should know of how it was computed, e.g. a solver's fallback.
        uncut_nuclear_norm: Sum of the singular values before any cut; None while nothing was cut.
    """

    n_samples: int
    mean: Tensor
    singular_values: Tensor
    directions: Tensor
    total_variance: float
    basis: Tensor | None = None
    notes: tuple[str, ...] = ()
    uncut_nuclear_norm: float | None = None

    @property
    def nuclear_norm(self) -> float:
        """Sum of all singular values above the numerical rank, kept or not."""
        return float(self.singular_values.sum()) if self.uncut_nuclear_norm is None else self.uncut_nuclear_norm

    @property
    def rank(self) -> int:
        """Number of kept directions."""
        return self.singular_values.shape[0]

    @property
    def n_features(self) -> int:
        """Width of the layer."""
        return self.mean.shape[0]

    @property
    def n_frequencies(self) -> int:
        """Number of spatial frequencies that the directions are spread over: 1, the layer is taken as a whole."""
        return 1

    @property
    def translation_gap(self) -> float | None:
        """None: nothing is assumed of the covariance between spatial frequencies."""
        return None

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Assumptions that the layer does not meet: none are made."""
        return ()

    @property
    def whitener(self) -> Tensor:
        """V diag(1/s), (n_features, rank): centred rows times it are orthonormal columns."""
        return self.directions / self.singular_values

    @property
    def condition(self) -> float:
        """Largest over smallest kept singular value."""
        return float(self.singular_values[0] / self.singular_values[-1])

    @property
    def explained_variance_ratio(self) -> Tensor:
        """Share of the layer's variance along each kept direction, (rank,)."""
        return self.singular_values**2 / self.total_variance

    @classmethod
    def from_moments(cls, moments: Moments, where: str = "Subspace x") -> Subspace:
        """Decompose a layer from its moments; every direction above the numerical rank is kept.

        Args:
            moments: Moments of the layer.
            where: The layer's name in an error.

        Cost: about 9 p^3 operations.

        Raises:
            RankError: If the layer is constant.
            SampleError: If there are fewer than two samples.
            NonFiniteError: If the scatter overflowed.
        """
        check_samples(moments.n_samples, where)
        spectrum = _Spectrum.of(moments.scatter, torch.diagonal(moments.scatter).real, moments, where)
        directions = spectrum.vectors * largest_loading_positive(spectrum.vectors)
        s = spectrum.values.sqrt()
        return cls(moments.n_samples, moments.mean, s, directions, spectrum.total, notes=spectrum.notes)

    @classmethod
    def from_rows(
        cls, x: ArrayLike, where: str = "Subspace x", *, step: SVDStep = WHOLE, precision: Precision = FLOAT64
    ) -> Subspace:
        """Decompose activations (n_samples, n_features) in memory; keeps the orthonormal basis of the samples.

        Takes whichever of the p x p scatter and the n x n Gram matrix of the samples is smaller.

        Args:
            x: Activations.
            where: The layer's name in an error.
            step: The SVD step; default every direction above the numerical rank. Only kept directions cost a product.
            precision: Precision of the products over samples; see `Moments.from_rows`.

        Cost: 2 n p min(n, p) + 9 min(n, p)^3 + 2 n p k operations; memory: a float64 copy of `x` and the basis.

        Raises:
            InputError: If `x` is not an array of activations.
            RankError: If the layer is constant.
        """
        return decompose(to_rows(x, where), where, step=step, precision=precision)

    def truncate(self, step: SVDStep) -> Subspace:
        """Keep the leading directions (Raghu et al. 2017, section 2).

        Raises:
            InputError: If there are fewer directions than the step's number of components.
        """
        if step.n_components is not None:
            if step.n_components > self.rank:
                got = str(step.n_components)
                raise InputError(message("n_components", f"at most {self.rank}, the layer's rank", got))
            return self._first(step.n_components)
        if step.retained_variance == 1:
            return self
        if step.by == "variance":
            share = torch.cumsum(self.explained_variance_ratio, dim=0)
        else:
            share = torch.cumsum(self.singular_values, dim=0) / self.nuclear_norm
        return self._first(min(int((share < step.retained_variance).sum()) + 1, self.rank))

    def _first(self, rank: int) -> Subspace:
        basis = None if self.basis is None else self.basis[:, :rank]
        return replace(
            self,
            singular_values=self.singular_values[:rank],
            directions=self.directions[:, :rank],
            basis=basis,
            uncut_nuclear_norm=self.nuclear_norm,
        )


def decompose(rows: Tensor, where: str, *, step: SVDStep = WHOLE, precision: Precision = FLOAT64) -> Subspace:
    """Decompose finite rows (n_samples, n_features); as `Subspace.from_rows`, which checks them first.

    Raises:
        InputError: If there is no feature.
        RankError: If the layer is constant.
        SampleError: If there are fewer than two samples.
        NonFiniteError: If the scatter overflows.
    """
    check_sizes(rows, where)
    mean, centred = centre(rows, precision)
    n_samples, n_features = rows.shape
    wide = n_features > n_samples
    products = gram(centred.mH if wide else centred)
    variances = centred.abs().square().sum(dim=0).double() if wide else torch.diagonal(products).real
    moments = Moments(n_samples, mean, products, source_eps(rows.dtype), source_eps(centred.dtype))
    spectrum = _Spectrum.of(products, variances, moments, where)
    whole = Subspace(n_samples, mean, spectrum.values.sqrt(), spectrum.vectors, spectrum.total, notes=spectrum.notes)
    kept = whole.truncate(step)
    s, vectors = kept.singular_values, kept.directions
    if wide:
        basis, directions = vectors, (centred.mH @ vectors.to(centred.dtype)).to(mean.dtype) / s
    elif kept.condition > ILL_CONDITIONED and centred.dtype == mean.dtype:
        return _by_qr(centred, moments, spectrum.total).truncate(step)
    else:
        basis, directions = (centred @ (vectors / s).to(centred.dtype)).to(mean.dtype), vectors
        basis = orthonormalised(basis, kept.condition)
    signs = largest_loading_positive(directions)
    return replace(kept, directions=directions * signs, basis=basis * signs)


def _by_qr(centred: Tensor, moments: Moments, total: float) -> Subspace:
    """Decompose tall centred rows without squaring a singular value: QR, then the SVD of the triangle."""
    q, r = torch.linalg.qr(centred)
    u, s, vh, notes = svd(r)
    rank = int((s > qr_rank_rtol(len(centred), centred.shape[1], moments.source_eps) * s[0]).sum())
    directions = vh.mH[:, :rank]
    signs = largest_loading_positive(directions)
    basis = q @ u[:, :rank] * signs
    return Subspace(moments.n_samples, moments.mean, s[:rank], directions * signs, total, basis, notes)


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """Eigenvalues above the rank cut, largest first, their vectors, the trace, and notes on the solver."""

    values: Tensor
    vectors: Tensor
    total: float
    notes: tuple[str, ...]

    @classmethod
    def of(cls, scatter: Tensor, variances: Tensor, moments: Moments, where: str) -> _Spectrum:
        """Decompose a scatter (or Gram) matrix; `variances` are those of the units, unnormalised."""
        total = float(variances.sum())
        if not math.isfinite(total):
            remedy = "Scale the activations"
            raise NonFiniteError(message(where, "squares within float64", "an overflow", remedy=remedy))
        _, floor = varying_units(variances, moments, where)
        # Scaled to trace 1, so that neither tiny nor huge activations meet the solver's own thresholds.
        values, vectors, notes = eigh_descending(scatter / total)
        rtol = rank_rtol(scatter.shape[0], moments.source_eps, moments.product_eps)
        rank = int((values > max(rtol**2 * float(values[0]), floor / total)).sum())
        return cls(values[:rank] * total, vectors[:, :rank], total, notes)


def varying_units(variances: Tensor, moments: Moments, where: str) -> tuple[Tensor, float]:
    """Separate the units that vary from those that waver by rounding alone.

    A unit that is constant in exact arithmetic still wavers in its last digit, by a few eps of its mean. Half precision
    counts as float32 here: its values are coarse, but a step between two of them is no rounding noise.

    Args:
        variances: The unnormalised variance of each unit, (n_features,).
        moments: Sample count, means and source precision of the layer; its scatter is not read.
        where: The layer's name in an error.

    Returns:
        Whether each unit varies, (n_features,), and the unnormalised variance below which a direction is rounding.

    Raises:
        RankError: If none does.
    """
    waver = moments.n_samples * (min(moments.source_eps, FLOAT32_EPS) * moments.mean.abs()).square()
    varies = variances > 16 * waver
    if not bool(varies.any()):
        raise RankError(
            message(
                where,
                "activations that vary between samples",
                f"a constant layer (rank 0 over {moments.n_samples} samples)",
                "Dead units, or a layer that does not depend on its input",
                "Leave it out",
            )
        )
    return varies, float(waver[varies].max())
