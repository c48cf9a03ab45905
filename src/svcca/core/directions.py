"""Directions of a layer in order of importance, and projections of its activations on the first k of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from svcca.core.coherence import Coherence
from svcca.core.linalg import svd
from svcca.core.moments import JointMoments, Moments
from svcca.core.subspace import Subspace, SVDStep
from svcca.errors import InputError, message, unknown_option

Form = Literal["data", "orthonormal"]
"""Form of a projection on directions; see `Directions.projection`."""


@dataclass(frozen=True, eq=False)
class Projection:
    """A projection of rank k: x -> mean + (x - mean) encoder decoder.

    Attributes:
        mean: Mean of each unit, (n_features,), which the projection leaves as it is.
        encoder: Map from centred rows to k coordinates, (n_features, k).
        decoder: Map back, (k, n_features); decoder times encoder is the identity, so that projecting twice is
            projecting once.
    """

    mean: Tensor
    encoder: Tensor
    decoder: Tensor

    @property
    def rank(self) -> int:
        """Number of directions."""
        return self.encoder.shape[1]

    def __call__(self, rows: Tensor) -> Tensor:
        """Project rows (n_rows, n_features), or anything with features along its last axis; they keep their dtype.

        Half precision is computed in float32.
        """
        wide = torch.promote_types(rows.dtype, torch.float32)
        mean, encoder, decoder = (part.to(rows.device, wide) for part in (self.mean, self.encoder, self.decoder))
        return (mean + ((rows.to(wide) - mean) @ encoder) @ decoder).to(rows.dtype)


@dataclass(frozen=True, eq=False)
class Directions:
    """All directions of a layer, the most important first.

    There are as many as units: first those found from the target, then the principal directions of what these leave of
    the layer, then those along which the layer does not vary. So the projection on all is the identity.

    Attributes:
        kind: The kind of directions, in words.
        mean: Mean of each unit, (n_features,), float64.
        encoder: Columns are directions, (n_features, n_features): (x - mean) @ encoder are uncorrelated coordinates,
            of unit variance for the first `rank`. For neurons: columns of the identity.
        decoder: Rows map the coordinates back to the layer, by least squares, (n_features, n_features).
        correlations: Canonical correlation of each direction found from a target, (n_from_target,); empty for other
            kinds.
        n_from_target: Number of directions found from the target.
        rank: Number of directions along which the layer varies.
        variances: Variance (ddof 1) that each direction adds to the data-space projection, (n_features,).
        total_variance: Sum of the units' variances (ddof 1).
        notes: What a reader of a result should know of how they were computed.
    """

    kind: str
    mean: Tensor
    encoder: Tensor
    decoder: Tensor
    correlations: Tensor
    n_from_target: int
    rank: int
    variances: Tensor
    total_variance: float
    notes: tuple[str, ...] = ()

    @property
    def n_features(self) -> int:
        """Width of the layer."""
        return self.mean.shape[0]

    @property
    def explained_variance_ratio(self) -> Tensor:
        """Share of the layer's variance that each direction adds to the data-space projection, (n_features,)."""
        return self.variances / self.total_variance

    def projection(self, k: int, form: Form = "data") -> Projection:
        """Return the projection on the first k directions.

        Args:
            k: Number of directions, from 0 (the mean alone) to n_features.
            form: "data" (default) predicts each sample from its k coordinates by least squares over the samples:
                X -> H H^T X with H the orthonormal coordinates of the samples, which for canonical directions W is
                X W W^T S with S the scatter. "orthonormal" projects at right angles on the span of the k directions
                themselves.

        Raises:
            InputError: If there are fewer directions.
            UnknownOptionError: If there is no such form.
        """
        if not isinstance(k, int) or isinstance(k, bool) or not 0 <= k <= self.n_features:
            expected = f"k from 0 to {self.n_features}, the width of the layer"
            raise InputError(message(f"projection on {self.kind}", expected, repr(k)))
        if form not in ("data", "orthonormal"):
            raise unknown_option("projection", "form", form, ["data", "orthonormal"])
        encoder = self.encoder[:, :k]
        if form == "orthonormal":
            q = torch.linalg.qr(encoder)[0]
            return Projection(self.mean, q, q.T)
        return Projection(self.mean, encoder, self.decoder[:k])

    @classmethod
    def canonical(
        cls,
        moments: JointMoments,
        step: SVDStep | None = None,
        where: str = "x",
        target_step: SVDStep | None = None,
    ) -> Directions:
        """Find the canonical directions of x with y, both after the SVD step; then the principal ones of the rest.

        Args:
            moments: Joint moments of the layer, x, and the target, y.
            step: The SVD step; None (default) keeps 99% of the variance.
            where: The layer's name in an error.
            target_step: The SVD step of y; None (default) takes that of x.

        Cost: two eigendecompositions and two SVDs, O(p^3 + q^3).

        Raises:
            RankError: If the layer or the target is constant.
            SampleError: If there are fewer than two samples.
        """
        whole, step = Coherence.from_moments(moments, where=where), step or SVDStep()
        x, kept, target = whole.x, whole.x.truncate(step), whole.y.truncate(target_step or step)
        pair = Coherence(kept, target, whole.matrix[: kept.rank, : target.rank])
        a, correlations, _, notes = pair.factors
        coordinates = a.new_zeros(x.rank, len(correlations))
        coordinates[: pair.x.rank] = a[:, : len(correlations)]
        return _completed("canonical directions", x, coordinates, correlations, (*pair.notes, *notes))

    @classmethod
    def partial_least_squares(cls, moments: JointMoments, where: str = "x") -> Directions:
        """Find the directions of largest covariance with y, then the principal ones of the rest.

        They are the left singular vectors of the cross-scatter, each made uncorrelated with those before it.
        """
        x = Subspace.from_moments(moments.x, where)
        u, s, _, notes = svd(moments.cross_scatter)
        n_directions = int((s > s[0] * 1e-12).sum()) if len(s) else 0
        seen = _orthonormal_in_order((x.directions * x.singular_values).T @ u[:, :n_directions])
        none = seen.new_zeros(0)
        return _completed("PLS directions", x, seen, none, (*x.notes, *notes))

    @classmethod
    def for_outputs(cls, moments: Moments, weight: Tensor, where: str = "x") -> Directions:
        """Find the directions that a linear map needs: the projection on the first k changes its outputs least.

        With X = U diag(s) V^T the outputs are X W^T = U (W V diag(s))^T, whose best approximation of rank k keeps the
        first k right singular vectors of W V diag(s): reduced-rank regression of the outputs on the layer.

        Args:
            moments: Moments of the layer.
            weight: Weight W of the linear map, (n_outputs, n_features).
            where: The layer's name in an error.

        References:
            Izenman (1975), "Reduced-rank regression for the multivariate linear model".
        """
        x = Subspace.from_moments(moments, where)
        _, s, vh, notes = svd(weight.to(x.directions) @ (x.directions * x.singular_values))
        needed = vh.mH[:, : int((s > s[0] * 1e-12).sum())]
        return _completed("directions of the outputs", x, needed, needed.new_zeros(0), (*x.notes, *notes))

    @classmethod
    def principal(cls, moments: Moments, where: str = "x") -> Directions:
        """Find the principal directions (PCA), which need no target."""
        x = Subspace.from_moments(moments, where)
        return _completed("principal directions", x, x.directions.new_zeros(x.rank, 0), x.mean.new_zeros(0), x.notes)

    @classmethod
    def random(cls, moments: Moments, generator: torch.Generator) -> Directions:
        """Draw directions from a normal distribution in units of the layer: a baseline.

        Args:
            moments: Moments of the layer.
            generator: Generator of the draw, on the CPU.
        """
        x = Subspace.from_moments(moments, "x")
        drawn = torch.randn(x.n_features, x.rank, generator=generator, dtype=torch.float64).to(x.mean.device)
        coordinates = _orthonormal_in_order((x.directions * x.singular_values).T @ drawn)
        found = _completed("random directions", x, coordinates, x.mean.new_zeros(0), x.notes)
        return replace(found, n_from_target=0)  # nothing was sought

    @classmethod
    def neurons(cls, moments: Moments, order: Sequence[int] | Tensor, kind: str) -> Directions:
        """Take single units as directions: a projection keeps the first k and sets the others to their mean.

        Args:
            moments: Moments of the layer.
            order: The units, the most important first; each once.
            kind: The kind of order, in words.

        Raises:
            InputError: If the order does not hold every unit once.
        """
        order = torch.as_tensor(order, device=moments.mean.device)
        n_features = moments.n_features
        if not torch.equal(order.sort().values, torch.arange(n_features, device=order.device)):
            raise InputError(message(f"Directions, {kind}", f"an order of all {n_features} units", str(order.tolist())))
        identity = torch.eye(n_features, dtype=moments.mean.dtype, device=moments.mean.device)
        variances = torch.diagonal(moments.covariance)[order]
        none, total = moments.mean.new_zeros(0), float(variances.sum())
        return cls(kind, moments.mean, identity[:, order], identity[order], none, 0, n_features, variances, total)


def _completed(kind: str, x: Subspace, coordinates: Tensor, correlations: Tensor, notes: tuple[str, ...]) -> Directions:
    """Complete directions by the principal ones of what they leave, and by those without variance.

    With X = U diag(s) V^T, directions that are orthonormal coordinates C in the basis U have weights V diag(1/s) C and
    map back to the layer by C^T diag(s) V^T. What they leave is U (1 - C C^T) diag(s) V^T.

    Args:
        kind: The kind of directions, in words.
        x: Subspace of the layer, with every direction.
        coordinates: C, (x.rank, n) with orthonormal columns.
        correlations: Canonical correlation of each column, (n,); may be empty.
        notes: Notes to carry.
    """
    n_from_target = coordinates.shape[1]
    if n_from_target < x.rank:
        scaled = x.directions * x.singular_values
        left = scaled.T - coordinates @ (coordinates.T @ scaled.T)
        rest, _, _, more = svd(left)
        rest = rest[:, : x.rank - n_from_target]
        rest = rest - coordinates @ (coordinates.T @ rest)  # of two that are equally far down, rounding may mix some in
        coordinates, notes = torch.cat([coordinates, torch.linalg.qr(rest)[0]], 1), (*notes, *more)
    unit = math.sqrt(x.n_samples - 1)
    encoder = x.whitener @ coordinates * unit
    decoder = coordinates.T @ (x.directions * x.singular_values).T / unit
    null = torch.linalg.qr(x.directions, mode="complete")[0][:, x.rank :]
    variances = torch.cat([decoder.square().sum(dim=1), decoder.new_zeros(null.shape[1])])
    return Directions(
        kind,
        x.mean,
        torch.cat([encoder, null], 1),
        torch.cat([decoder, null.T]),
        correlations,
        n_from_target,
        x.rank,
        variances,
        x.total_variance / (x.n_samples - 1),
        tuple(dict.fromkeys(notes)),
    )


def _orthonormal_in_order(columns: Tensor) -> Tensor:
    """Orthonormalise columns, each by those before it, keeping their signs; dependent ones are left out."""
    q, r = torch.linalg.qr(columns)
    diagonal = torch.diagonal(r)
    kept = diagonal.abs() > 1e-12 * diagonal.abs().max()
    oriented: Tensor = (q * torch.where(diagonal < 0, -1.0, 1.0))[:, kept]
    return oriented
