"""One layer of maps by the DFT: singular values and directions at each spatial frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from svcca.core.arrays import check_samples
from svcca.core.linalg import FLOAT64_EPS, batched_eigh
from svcca.core.moments import Moments
from svcca.core.subspace import SVDStep, varying_units
from svcca.errors import Doubt, InputError, NonFiniteError, message
from svcca.fourier.frequencies import FrequencyGrid
from svcca.fourier.gap import Gap
from svcca.fourier.spectra import SpectralMoments


@dataclass(frozen=True, eq=False)
class FourierSubspace:
    """Singular values and directions of a layer of maps at each spatial frequency, X_k = U_k diag(s_k) V_k^H.

    Attributes:
        n_samples: Number of samples n.
        mean: Mean of each channel, (n_channels,).
        grid: The frequencies kept of k and -k, with weights.
        values: Singular values, (n_kept, n_channels), largest first at each frequency; 0 where not kept.
        vectors: Their directions V_k in the channels, (n_kept, n_channels, at least the largest rank).
        total_variance: Sum of *all* squared singular values over all frequencies, kept or not.
        gap: Energy of the covariance between different frequencies and within: none between for equivariant layers over
            inputs closed under shifts.
        notes: What a reader of a result should know of how it was computed.
        uncut_nuclear_norm: Sum of the singular values before any cut; None while nothing was cut.
    """

    n_samples: int
    mean: Tensor
    grid: FrequencyGrid
    values: Tensor
    vectors: Tensor
    total_variance: float
    gap: Gap
    notes: tuple[str, ...] = ()
    uncut_nuclear_norm: float | None = None

    @property
    def n_features(self) -> int:
        """Width of the flattened map."""
        return self.mean.shape[0] * self.grid.n_positions

    @property
    def n_frequencies(self) -> int:
        """Number of spatial frequencies, k and -k both counted: the positions of a map."""
        return self.grid.n_positions

    @property
    def translation_gap(self) -> float | None:
        """Share of the covariance's energy between different frequencies, which is taken to be 0; in [0, 1]."""
        return self.gap.share

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """One doubt where the translation gap is large beyond the error of its estimate."""
        return self.gap.doubts

    @cached_property
    def ranks(self) -> Tensor:
        """Number of kept directions at each frequency, (n_kept,)."""
        return (self.values > 0).sum(dim=1)

    @cached_property
    def rank(self) -> int:
        """Number of kept directions over all frequencies."""
        return int((self.ranks * self._weights).sum())

    @property
    def singular_values(self) -> Tensor:
        """Kept singular values of the flattened map, (rank,), by frequency."""
        return self.spread(self.values)

    @property
    def nuclear_norm(self) -> float:
        """Sum of all singular values above the numerical rank, kept or not."""
        return float(self.singular_values.sum()) if self.uncut_nuclear_norm is None else self.uncut_nuclear_norm

    @property
    def directions(self) -> Tensor:
        """Kept directions, (n_kept, n_channels, largest rank); columns that are not kept are no directions."""
        return self.vectors[:, :, : int(self.ranks.max())]

    def whitener(self, index: Tensor) -> Tensor:
        """Return V_k diag(1 / s_k) at some frequencies, zero where nothing is kept.

        Args:
            index: The frequencies, of any shape.

        Returns:
            (*index.shape, n_channels, largest rank), complex128.
        """
        width = int(self.ranks.max())
        kept = self.values[index][..., :width]
        return self.vectors[index][..., :width] * torch.where(kept > 0, 1 / kept, 0.0)[..., None, :]

    @property
    def _weights(self) -> Tensor:
        return self.grid.weights.to(self.values.device)

    def spread(self, values: Tensor) -> Tensor:
        """Repeat one value a direction as often as its frequency counts, kept directions alone.

        Args:
            values: One value a direction, (n_kept, n_channels).

        Returns:
            (rank,), by frequency.
        """
        kept = self.values > 0
        return values[kept].repeat_interleave(self._weights[:, None].expand_as(kept)[kept])

    @classmethod
    def from_moments(cls, moments: SpectralMoments, source_eps: float, where: str) -> FourierSubspace:
        """Decompose a layer at every frequency; each direction above the numerical rank is kept.

        A direction counts as zero below n_channels * `source_eps` of the layer's largest singular value, which is
        rounding of the maps, or sqrt(max(n_channels, sqrt(n_samples)) * 2e-16) of the largest at its own frequency,
        which is rounding of the squares. The eigenvectors take the scatter's memory.

        Cost: about 36 n_channels^3 operations for each of half as many frequencies as positions.

        Raises:
            RankError: If the layer is constant.
            SampleError: If there are fewer than two samples.
            NonFiniteError: If the scatter overflowed.
        """
        check_samples(moments.n_samples, where)
        grid, n_channels = moments.grid, moments.mean.shape[0]
        weights = grid.weights.to(moments.scatter.device)
        variances = (torch.diagonal(moments.scatter, dim1=1, dim2=2).real * weights[:, None]).sum(dim=0)
        total = float(variances.sum())
        if not math.isfinite(total):
            raise NonFiniteError(message(where, "squares within float64", "an overflow", remedy="Scale the maps"))
        rows = moments.n_samples * grid.n_positions
        _, floor = varying_units(variances, Moments(rows, moments.mean, moments.scatter[0], source_eps), where)
        # Scaled to trace 1, so that neither tiny nor huge activations meet the solver's own thresholds.
        values, vectors, notes = batched_eigh(moments.scatter.div_(total))
        largest = float(values.max())
        # Rounding of a sum over samples grows with its length as a random walk does.
        squares = max(n_channels, math.sqrt(moments.n_samples)) * FLOAT64_EPS * values[:, :1]
        maps = max((n_channels * source_eps) ** 2 * largest, floor / grid.n_positions / total)
        kept = values > squares.clamp_min(maps)
        s = torch.where(kept, (values * total).sqrt(), 0.0)
        return cls(moments.n_samples, moments.mean, grid, s, vectors, total, moments.gap, notes)

    @classmethod
    def constant(cls, moments: SpectralMoments) -> FourierSubspace:
        """Return the subspace of a constant layer: no direction, no variance."""
        values = torch.zeros(moments.scatter.shape[:2], dtype=torch.float64, device=moments.scatter.device)
        return cls(moments.n_samples, moments.mean, moments.grid, values, moments.scatter, 0.0, moments.gap)

    def truncate(self, step: SVDStep) -> FourierSubspace:
        """Keep the leading directions over all frequencies together; k and -k, being equal, stay together.

        Raises:
            InputError: If there are fewer directions than the step's number of components.
        """
        if step.n_components is None and step.retained_variance == 1:
            return self
        s, order = self.values.flatten().sort(descending=True)
        weights = self._weights[:, None].expand_as(self.values).flatten()[order]
        if step.n_components is not None:
            if step.n_components > self.rank:
                expected, got = f"at most {self.rank}, the layer's rank", str(step.n_components)
                raise InputError(message("n_components", expected, got))
            reached = weights.cumsum(0) < step.n_components
        elif step.by == "variance":
            reached = (weights * s.square()).cumsum(0) < step.retained_variance * self.total_variance
        else:
            reached = (weights * s).cumsum(0) < step.retained_variance * self.nuclear_norm
        n_kept = min(int(reached.sum()) + 1, int((s > 0).sum()))
        values = torch.where(self.values >= s[n_kept - 1], self.values, 0.0)
        return replace(self, values=values, uncut_nuclear_norm=self.nuclear_norm)
