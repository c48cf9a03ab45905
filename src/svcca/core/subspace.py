"""The SVD step: one decomposition of a layer, cut to the directions that hold its variance."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, check_samples, source_eps, to_rows
from svcca.core.linalg import FLOAT32_EPS, eigh_descending, largest_loading_positive, orthonormalised, rank_rtol
from svcca.core.moments import Moments, centre
from svcca.errors import InputError, NonFiniteError, RankError, message


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
    """

    n_samples: int
    mean: Tensor
    singular_values: Tensor
    directions: Tensor
    total_variance: float
    basis: Tensor | None = None

    @property
    def rank(self) -> int:
        """Number of kept directions."""
        return self.singular_values.shape[0]

    @property
    def n_features(self) -> int:
        """Width of the layer."""
        return self.mean.shape[0]

    @property
    def whitener(self) -> Tensor:
        """V diag(1/s), (n_features, rank): centred rows times it are orthonormal columns."""
        return self.directions / self.singular_values

    @property
    def explained_variance_ratio(self) -> Tensor:
        """Share of the layer's variance along each kept direction, (rank,)."""
        return self.singular_values**2 / self.total_variance

    @classmethod
    def from_moments(cls, moments: Moments, where: str = "Subspace x") -> Subspace:
        """Decompose a layer from its moments; every direction above the numerical rank is kept.

        Cost: about 9 p^3 operations.

        Raises:
            RankError: If the layer is constant.
            NonFiniteError: If the scatter overflowed.
        """
        check_samples(moments.n_samples, where)
        variances = torch.diagonal(moments.scatter).real
        n_samples, eps = moments.n_samples, moments.source_eps
        values, vectors = _positive_eigen(moments.scatter, variances, moments.mean, n_samples, eps, where)
        signs = largest_loading_positive(vectors)
        return cls(moments.n_samples, moments.mean, values.sqrt(), vectors * signs, float(variances.sum()))

    @classmethod
    def from_rows(cls, x: ArrayLike, where: str = "Subspace x") -> Subspace:
        """Decompose activations (n_samples, n_features) in memory; keeps the orthonormal basis of the samples.

        Works in whichever of the p x p scatter and the n x n Gram matrix of the samples is smaller.

        Cost: 2 n p min(n, p) + 9 min(n, p)^3 operations; memory: float64 copies of `x` and of the basis.

        Raises:
            InputError: For arrays that are no activations.
            RankError: If the layer is constant.
        """
        rows = to_rows(x, where)
        mean, centred = centre(rows)
        n_samples, n_features = rows.shape
        eps = source_eps(rows.dtype)
        wide = n_features > n_samples
        scatter = centred @ centred.mH if wide else centred.mH @ centred
        variances = centred.abs().square().sum(dim=0) if wide else torch.diagonal(scatter).real
        values, vectors = _positive_eigen(scatter, variances, mean, n_samples, eps, where)
        singular_values = values.sqrt()
        if wide:
            basis, directions = vectors, (centred.mH @ vectors) / singular_values
        else:
            basis, directions = orthonormalised((centred @ vectors) / singular_values, singular_values), vectors
        signs = largest_loading_positive(directions)
        return cls(n_samples, mean, singular_values, directions * signs, float(variances.sum()), basis * signs)

    def keep(self, retained_variance: float = 0.99, n_components: int | None = None) -> Subspace:
        """Cut to the leading directions (Raghu et al. 2017, section 2).

        Args:
            retained_variance: Keep the smallest number of directions that hold this share of the variance, the one
                that crosses it included; 1 keeps the numerical rank. Default 0.99.
            n_components: Keep this many directions instead.

        Raises:
            InputError: If the share is outside (0, 1] or the number outside 1 .. rank.
        """
        if n_components is not None:
            if not isinstance(n_components, int) or not 1 <= n_components <= self.rank:
                raise InputError(
                    message("n_components", f"an integer from 1 to {self.rank}, the layer's rank", str(n_components))
                )
            return self._first(n_components)
        check_retained_variance(retained_variance)
        if retained_variance == 1:
            return self
        share = torch.cumsum(self.explained_variance_ratio, dim=0)
        return self._first(min(int((share < retained_variance).sum()) + 1, self.rank))

    def _first(self, rank: int) -> Subspace:
        basis = None if self.basis is None else self.basis[:, :rank]
        return replace(
            self,
            singular_values=self.singular_values[:rank],
            directions=self.directions[:, :rank],
            basis=basis,
        )


def check_retained_variance(share: float) -> None:
    """Raise InputError unless 0 < share <= 1."""
    if not 0 < share <= 1:
        raise InputError(message("retained_variance", "a share in (0, 1]", str(share), remedy="The paper uses 0.99"))


def _positive_eigen(
    scatter: Tensor, variances: Tensor, mean: Tensor, n_samples: int, eps: float, where: str
) -> tuple[Tensor, Tensor]:
    """Eigenvalues above the rank cut, largest first, and their vectors; `variances` are the units', unnormalised."""
    total = float(variances.sum())
    if not math.isfinite(total):
        raise NonFiniteError(message(where, "squares within float64", "an overflow", remedy="Scale the activations"))
    # A unit that is constant in exact arithmetic still wavers in its last digit, by a few eps of its mean. Half
    # precision counts as float32 here: its values are coarse, but a step between two of them is no rounding noise.
    waver = n_samples * (min(eps, FLOAT32_EPS) * mean.abs()).square()
    varies = variances > 16 * waver
    if not bool(varies.any()):
        raise RankError(
            message(
                where,
                "activations that vary between samples",
                f"a constant layer (rank 0 over {n_samples} samples)",
                "Dead units, or a layer that does not depend on its input",
                "Leave it out",
            )
        )
    # Scaled to trace 1, so that neither tiny nor huge activations meet the solver's own thresholds.
    values, vectors = eigh_descending(scatter / total)
    rtol = rank_rtol(scatter.shape[0], eps)
    floor = max(rtol**2 * float(values[0]), float(waver[varies].max()) / total)
    rank = int((values > floor).sum())
    return values[:rank] * total, vectors[:, :rank]
