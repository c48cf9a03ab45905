"""Convolutional layers by the DFT: subspaces and coherence, a block for each spatial frequency.

For maps of a translation equivariant layer over inputs closed under cyclic shifts the covariance of their DFT is block
diagonal (Raghu et al. 2017, theorem 1): CCA of the flattened maps falls apart into one small CCA a frequency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from svcca.core.arrays import check_samples, to_numpy
from svcca.core.coherence import PairBlock, Side
from svcca.core.linalg import FLOAT64_EPS, batched_eigh, batched_svd, batched_svdvals, parts
from svcca.core.moments import Moments
from svcca.core.subspace import SVDStep, varying_units
from svcca.errors import InputError, NonFiniteError, RankError, message
from svcca.fourier.frequencies import FrequencyGrid, Matching
from svcca.fourier.gap import Gap
from svcca.fourier.spectra import SpectralMoments

CUT_TO_ONE = 0.05
"""How far past 1 a correlation may be cut to 1 without a word; beyond rounding it is correlated aliases that do it."""


@dataclass(frozen=True, eq=False)
class FourierSubspace:
    """Singular values and directions of a layer of maps at each spatial frequency, X_k = U_k diag(s_k) V_k^H.

    Attributes:
        n_samples: Number of samples n.
        mean: Mean of each channel, (n_channels,).
        grid: The frequencies kept of k and -k, with weights.
        values: Singular values, (n_frequencies, n_channels), largest first at each frequency; 0 where not kept.
        vectors: Their directions V_k in the channels, (n_frequencies, n_channels, at least the largest rank).
        total_variance: Sum of *all* squared singular values over all frequencies, kept or not.
        notes: What happened on the way that a reader of a result should know.
        gap: Energy of the covariance between different frequencies and within: none between for equivariant layers over
            inputs closed under shifts.
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

    @cached_property
    def ranks(self) -> Tensor:
        """Number of kept directions at each frequency, (n_frequencies,)."""
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
        """Kept directions, (n_frequencies, n_channels, largest rank); columns that are not kept are no directions."""
        return self.vectors[:, :, : int(self.ranks.max())]

    def whitener(self, index: Tensor) -> Tensor:
        """V_k diag(1 / s_k) at some frequencies, zero where nothing is kept, (..., n_channels, largest rank)."""
        width = int(self.ranks.max())
        kept = self.values[index][..., :width]
        return self.vectors[index][..., :width] * torch.where(kept > 0, 1 / kept, 0.0)[..., None, :]

    @property
    def _weights(self) -> Tensor:
        return self.grid.weights.to(self.values.device)

    def spread(self, values: Tensor) -> Tensor:
        """Give one number a kept direction, (n_frequencies, n_channels), as often as it stands for frequencies."""
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
        """Rank 0: no direction, no variance."""
        values = torch.zeros(moments.scatter.shape[:2], dtype=torch.float64, device=moments.scatter.device)
        return cls(moments.n_samples, moments.mean, moments.grid, values, moments.scatter, 0.0, moments.gap)

    def truncate(self, step: SVDStep) -> FourierSubspace:
        """Cut to the leading directions over all frequencies together; k and -k, being equal, stay together.

        Raises:
            InputError: If more components are asked for than there are directions.
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


@dataclass(frozen=True, eq=False)
class FourierCoherence:
    """Coherence matrices of two layers of maps, a block for each spatial frequency.

    Attributes:
        x: Subspaces of the first layer.
        y: Subspaces of the second layer.
        matching: Which frequencies of the two covary, and how they form blocks.
        matrix: K = U_x^H U_y at each matching pair, (n_pairs, largest rank of x, of y), zero where nothing is kept.
    """

    x: FourierSubspace
    y: FourierSubspace
    matching: Matching
    matrix: Tensor

    @classmethod
    def from_cross(cls, x: FourierSubspace, y: FourierSubspace, matching: Matching, cross: Tensor) -> FourierCoherence:
        """Whiten the cross-scatter X_k^H Y_l, (n_pairs, n_channels of x, of y), on both sides."""
        widths = (int(x.ranks.max()), int(y.ranks.max()))
        matrix = torch.empty(len(cross), *widths, dtype=torch.complex128, device=cross.device)
        for part in parts(cross):
            left, right = x.whitener(matching.x[part].to(cross.device)), y.whitener(matching.y[part].to(cross.device))
            mirrored = matching.y_mirrored[part].to(cross.device)[:, None, None]
            if bool(mirrored.any()):
                right = torch.where(mirrored, right.conj(), right)
            torch.matmul(left.mH @ cross[part], right, out=matrix[part])
        return cls(x, y, matching, matrix)

    @property
    def n_samples(self) -> int:
        """Number of samples both layers were seen over."""
        return self.x.n_samples

    def truncate(self, step: SVDStep) -> FourierCoherence:
        """Apply the SVD step to both layers."""
        x, y = self.x.truncate(step), self.y.truncate(step)
        if x is self.x and y is self.y:
            return self
        device = self.matrix.device
        x_kept, y_kept = (
            (layer.values[index.to(device)] > 0)[:, : int(layer.ranks.max())]
            for layer, index in ((x, self.matching.x), (y, self.matching.y))
        )
        matrix = self.matrix[:, : x_kept.shape[1], : y_kept.shape[1]]
        return FourierCoherence(x, y, self.matching, matrix * (x_kept[:, :, None] & y_kept[:, None, :]))

    # -- blocks: (n_blocks, directions of x, directions of y), aliases of the larger map one below the other ----------

    def stacked(self, pairs: Tensor) -> Tensor:
        """Put matrices of pairs, (n_pairs, a, b), together into blocks, (n_blocks, a, b) with the aliases' a or b."""
        if self.matching.one_to_one:
            return pairs
        members, mirrored = (each.to(pairs.device) for each in (self.matching.members, self.matching.mirrored))
        blocks = pairs[members]
        if bool(mirrored.any()):
            blocks = torch.where(mirrored[:, :, None, None], blocks.conj(), blocks)
        return blocks.flatten(1, 2) if self.matching.stacked == "x" else blocks.transpose(1, 2).flatten(2, 3)

    def frequencies(self, side: Side) -> tuple[Tensor, Tensor]:
        """Frequencies of a side in each block, and whether they stand there negated, (n_blocks, aliases or 1)."""
        matching = self.matching
        index = (matching.x if side == "x" else matching.y)[matching.members]
        mirrored = matching.mirrored if side == "x" else matching.mirrored ^ matching.y_mirrored[matching.members]
        if matching.stacked != side:
            index, mirrored = index[:, :1], mirrored[:, :1]
        return index.to(self.matrix.device), mirrored.to(self.matrix.device)

    @cached_property
    def _block_matrix(self) -> Tensor:
        return self.stacked(self.matrix)

    def _block_values(self, side: Side) -> Tensor:
        """Singular values of a side in each block, 0 where not kept."""
        layer, width = (self.x, self.matrix.shape[1]) if side == "x" else (self.y, self.matrix.shape[2])
        index, _ = self.frequencies(side)
        return layer.values[index][:, :, :width].flatten(1)

    @cached_property
    def counts(self) -> Tensor:
        """Correlations in each block, the smaller of the two ranks."""
        ranks = [(self._block_values(side) > 0).sum(dim=1) for side in ("x", "y")]
        return torch.minimum(*ranks)

    def _pooled(self, values: Tensor) -> Tensor:
        """One number a correlation, (n_blocks, r), as often as its block stands for frequencies."""
        counted = torch.arange(values.shape[1], device=values.device) < self.counts[:, None]
        weights = self.matching.weights.to(values.device)[:, None].expand_as(counted)
        return values[counted].repeat_interleave(weights[counted])

    @property
    def blocks(self) -> tuple[PairBlock, ...]:
        """A block for each frequency of the smaller map. A self-conjugate frequency counts as real."""
        x_values, y_values = (to_numpy(self._block_values(side)) for side in ("x", "y"))
        n = self.n_samples
        return tuple(
            PairBlock(x[x > 0], y[y > 0], n - 1 if number == 0 else n, weight > 1, weight)
            for number, (x, y, weight) in enumerate(
                zip(x_values, y_values, self.matching.weights.tolist(), strict=True)
            )
        )

    # -- what the measures ask for ------------------------------------------------------------------------------------

    @cached_property
    def block_correlations(self) -> Tensor:
        """Canonical correlations of each block, (n_blocks, r), largest first; 0 beyond the smaller rank."""
        return self._svdvals[0].clamp(0.0, 1.0)

    @cached_property
    def _svdvals(self) -> tuple[Tensor, tuple[str, ...]]:
        return batched_svdvals(self._block_matrix)

    @cached_property
    def n_correlations(self) -> int:
        """Correlations of the flattened maps: the smaller of the two ranks over all blocks."""
        weights = self.matching.weights.to(self.matrix.device)
        return min(int(((self._block_values(side) > 0).sum(dim=1) * weights).sum()) for side in ("x", "y"))

    @cached_property
    def correlations(self) -> Tensor:
        """Canonical correlations of the flattened maps, largest first, in [0, 1].

        Where one layer keeps more directions at one frequency and the other at another, some are zero.

        Raises:
            RankError: If no kept direction of one layer can correlate with one of the other.
        """
        if not int(self.counts.sum()):
            cause = "A vector can only correlate with the mean of a map, and the SVD step kept nothing of that"
            remedy = "Retain more variance, or observe the layers by 'pool'"
            expected = "kept directions at a frequency that both layers have"
            raise RankError(message("Fourier CCA", expected, "none", cause, remedy))
        pooled = self._pooled(self.block_correlations).sort(descending=True).values
        return torch.cat([pooled, pooled.new_zeros(self.n_correlations - len(pooled))])

    @cached_property
    def factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """SVD (A, rho, B^H) of each block; U_x A and U_y B are its canonical variates."""
        a, rho, bh, _ = self._svd
        return a, rho.clamp(0.0, 1.0), bh

    @cached_property
    def _svd(self) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...]]:
        return batched_svd(self._block_matrix)

    def variate_directions(self, side: Side) -> Tensor:
        """Maps from a side's singular to its canonical variates, an alias at a time: (n_blocks, aliases, p, r)."""
        a, _, bh = self.factors
        rotation = a if side == "x" else bh.mH
        index, _ = self.frequencies(side)
        return _by_alias(rotation, index)

    def channel_directions(self, side: Side, scale: Tensor) -> Tensor:
        """V_k diag(scale_k) times the canonical rotation, (n_blocks, aliases, n_channels, r)."""
        layer = self.x if side == "x" else self.y
        index, mirrored = self.frequencies(side)
        vectors = (layer.directions * scale[:, None, : layer.directions.shape[2]])[index]
        vectors = torch.where(mirrored[:, :, None, None], vectors.conj(), vectors)
        return vectors @ self.variate_directions(side)

    def projection_weights(self, side: Side, *, squared: bool) -> tuple[Tensor, Tensor]:
        """Sum over units, here the channels' DFTs, of |<unit, canonical variate>| or its square; the correlations."""
        layer = self.x if side == "x" else self.y
        loadings = self.channel_directions(side, layer.values).abs()
        weights = (loadings.square() if squared else loadings).sum(dim=(1, 2))
        return self._pooled(weights), self._pooled(self.factors[1])

    def projection_norms(self, side: Side) -> Tensor:
        """Length of each kept left singular vector of a side projected on the other layer."""
        layer = self.x if side == "x" else self.y
        index, _ = self.frequencies(side)
        norms = torch.linalg.vector_norm(self._block_matrix, dim=2 if side == "x" else 1)
        lengths = torch.zeros_like(layer.values)
        lengths[index, : norms.shape[1] // index.shape[1]] = _by_alias(norms, index)
        return layer.spread(lengths)

    @cached_property
    def _cross_scatter(self) -> Tensor:
        return self._block_values("x")[:, :, None] * self._block_matrix * self._block_values("y")[:, None, :]

    @property
    def cross_norm(self) -> float:
        """Frobenius norm of the cross-scatter between the kept directions."""
        squares = torch.linalg.vector_norm(self._cross_scatter, dim=(1, 2)).square()
        return math.sqrt(float((squares * self.matching.weights.to(squares.device)).sum()))

    @cached_property
    def _cross_svdvals(self) -> tuple[Tensor, tuple[str, ...]]:
        return batched_svdvals(self._cross_scatter)

    @property
    def cross_singular_values(self) -> Tensor:
        """Singular values of the cross-scatter of the flattened maps between the kept directions."""
        return self._pooled(self._cross_svdvals[0])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was approximated, and what the solvers had to do."""
        found = [*self.x.notes, *self.y.notes]
        for name in ("_svdvals", "_cross_svdvals", "_svd"):
            found += self.__dict__.get(name, ((),))[-1]
        if not self.matching.exact:
            found.append("the larger maps are cropped to the frequencies of the smaller, an approximation")
        values = self.__dict__.get("_svdvals")
        if values is not None and float(values[0].max()) > 1 + CUT_TO_ONE:
            found.append(
                f"correlations of up to {float(values[0].max()):.2f} were cut to 1, because frequencies of the larger "
                "map that meet at one of the smaller are correlated over these inputs: their shifts are missing, which "
                "Fourier(phases=r) feeds to live models, r the ratio of the sizes, or the layers pad with zeros"
            )
        return tuple(dict.fromkeys(found))


def _by_alias(blocks: Tensor, index: Tensor) -> Tensor:
    """Split the second axis of blocks into aliases and directions."""
    return blocks.reshape(blocks.shape[0], index.shape[1], -1, *blocks.shape[2:])
