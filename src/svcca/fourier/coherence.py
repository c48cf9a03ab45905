"""Two convolutional layers by the DFT: a coherence matrix for each spatial frequency.

For maps of a translation equivariant layer over inputs closed under cyclic shifts the covariance of their DFT is block
diagonal (Raghu et al. 2017, theorem 1): CCA of the flattened maps falls apart into one small CCA a frequency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from svcca.core.arrays import to_numpy
from svcca.core.coherence import Factorisation, PairBlock, Side
from svcca.core.linalg import SVD, SingularValues, batched_svd, batched_svdvals, parts
from svcca.core.subspace import SVDStep
from svcca.errors import RankError, message
from svcca.fourier.frequencies import Matching
from svcca.fourier.subspace import FourierSubspace

CUT_TO_ONE = 0.05
"""How far past 1 a correlation may be cut to 1 without a note; beyond rounding, correlated aliases are the cause."""


@dataclass(frozen=True, eq=False)
class FourierCoherence:
    """Coherence matrices of two layers of maps, a block for each spatial frequency.

    Attributes:
        x: Subspaces of the first layer.
        y: Subspaces of the second layer.
        matching: Which frequencies of the two covary, and how they form blocks.
        matrix: K = U_x^H U_y at each matching pair, (n_pairs, largest rank of x, of y), zero where nothing is kept.
        vectors: Whether `correlations` come from the SVD with vectors; see `with_vectors`.
    """

    x: FourierSubspace
    y: FourierSubspace
    matching: Matching
    matrix: Tensor
    vectors: bool = False

    @classmethod
    def from_cross(cls, x: FourierSubspace, y: FourierSubspace, matching: Matching, cross: Tensor) -> FourierCoherence:
        """Pair two layers by their cross-scatter, whitened on both sides.

        Args:
            x: Subspaces of the first layer.
            y: Subspaces of the second layer.
            matching: Which frequencies of the two covary.
            cross: The cross-scatter X_k^H Y_l of each of these pairs, (n_pairs, n_channels of x, of y).
        """
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

    def truncate(self, step: SVDStep, y_step: SVDStep | None = None) -> FourierCoherence:
        """Apply the SVD step to both layers, or another to y; the same object where nothing is cut."""
        x, y = self.x.truncate(step), self.y.truncate(y_step or step)
        if x is self.x and y is self.y:
            return self
        device = self.matrix.device
        x_kept, y_kept = (
            (layer.values[index.to(device)] > 0)[:, : int(layer.ranks.max())]
            for layer, index in ((x, self.matching.x), (y, self.matching.y))
        )
        matrix = self.matrix[:, : x_kept.shape[1], : y_kept.shape[1]]
        return FourierCoherence(x, y, self.matching, matrix * (x_kept[:, :, None] & y_kept[:, None, :]))

    def with_vectors(self) -> FourierCoherence:
        """Return the pair with `correlations` from the SVD with vectors, so that K is factorised once for both."""
        return self if self.vectors else replace(self, vectors=True)

    # -- blocks: (n_blocks, directions of x, directions of y), aliases of the larger map one below the other ----------

    def stacked(self, pairs: Tensor) -> Tensor:
        """Stack the matrices of pairs, (n_pairs, a, b), into blocks, (n_blocks, a, b) with the aliases' a or b."""
        if self.matching.one_to_one:
            return pairs
        members, mirrored = (each.to(pairs.device) for each in (self.matching.members, self.matching.mirrored))
        blocks = pairs[members]
        if bool(mirrored.any()):
            blocks = torch.where(mirrored[:, :, None, None], blocks.conj(), blocks)
        return blocks.flatten(1, 2) if self.matching.stacked == "x" else blocks.transpose(1, 2).flatten(2, 3)

    def frequencies(self, side: Side) -> tuple[Tensor, Tensor]:
        """Return a side's frequencies in each block, and whether they stand there negated, (n_blocks, aliases or 1)."""
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
        """Return the singular values of a side in each block, 0 where not kept."""
        layer, width = (self.x, self.matrix.shape[1]) if side == "x" else (self.y, self.matrix.shape[2])
        index, _ = self.frequencies(side)
        return layer.values[index][:, :, :width].flatten(1)

    @cached_property
    def counts(self) -> Tensor:
        """Number of correlations in each block, the smaller of the two ranks, (n_blocks,)."""
        ranks = [(self._block_values(side) > 0).sum(dim=1) for side in ("x", "y")]
        return torch.minimum(*ranks)

    def _pooled(self, values: Tensor) -> Tensor:
        """Repeat one value a correlation, (n_blocks, r), as often as its block counts."""
        counted = torch.arange(values.shape[1], device=values.device) < self.counts[:, None]
        weights = self.matching.weights.to(values.device)[:, None].expand_as(counted)
        return values[counted].repeat_interleave(weights[counted])

    @property
    def blocks(self) -> tuple[PairBlock, ...]:
        """One block for each frequency of the smaller map; a self-conjugate frequency counts as real."""
        x_values, y_values = (to_numpy(self._block_values(side)) for side in ("x", "y"))
        n = self.n_samples
        return tuple(
            PairBlock(x[x > 0], y[y > 0], n - 1 if number == 0 else n, weight > 1, weight)
            for number, (x, y, weight) in enumerate(
                zip(x_values, y_values, self.matching.weights.tolist(), strict=True)
            )
        )

    # -- factorisations: each is taken once, when first wanted, and carries its own notes -----------------------------

    @cached_property
    def factors(self) -> SVD:
        """SVD A diag(rho) B^H of each block, rho in [0, 1]; U_x A and U_y B are its canonical variates."""
        found = batched_svd(self._block_matrix)
        return found._replace(s=found.s.clamp(0.0, 1.0), notes=(*found.notes, *_cut_to_one(found.s)))

    @cached_property
    def spectrum(self) -> SingularValues:
        """Canonical correlations of each block, (n_blocks, r), in [0, 1], from `factors` where `vectors` holds."""
        if self.vectors:
            return SingularValues(self.factors.s, self.factors.notes)
        found = batched_svdvals(self._block_matrix)
        return SingularValues(found.s.clamp(0.0, 1.0), (*found.notes, *_cut_to_one(found.s)))

    @cached_property
    def cross_spectrum(self) -> SingularValues:
        """Singular values of the cross-scatter of each block, (n_blocks, r)."""
        return batched_svdvals(self._cross_scatter)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the solvers had to do for both layers, and whether pairing them is an approximation."""
        cropped = "the larger maps are cropped to the frequencies of the smaller, an approximation"
        return tuple(dict.fromkeys([*self.x.notes, *self.y.notes, *([] if self.matching.exact else [cropped])]))

    def notes_on(self, factorisation: Factorisation) -> tuple[str, ...]:
        """Return `notes` and those on a factorisation of the pair, which is taken now if it was not before."""
        if factorisation == "none":
            return self.notes
        found = self.spectrum if factorisation == "correlations" else self.cross_spectrum
        return tuple(dict.fromkeys([*self.notes, *found.notes]))

    # -- what the measures read ---------------------------------------------------------------------------------------

    @property
    def block_correlations(self) -> Tensor:
        """Canonical correlations of each block, (n_blocks, r), largest first; 0 beyond the smaller rank."""
        return self.spectrum.s

    @cached_property
    def n_correlations(self) -> int:
        """Number of correlations of the flattened maps: the smaller of the two ranks over all blocks."""
        weights = self.matching.weights.to(self.matrix.device)
        return min(int(((self._block_values(side) > 0).sum(dim=1) * weights).sum()) for side in ("x", "y"))

    @property
    def correlations(self) -> Tensor:
        """Canonical correlations of the flattened maps, largest first, in [0, 1]; a copy, free to be written to.

        Where one layer keeps more directions at one frequency and the other at another, some are zero.

        Raises:
            RankError: If no kept direction of one layer can correlate with one of the other.
        """
        return self._sorted_correlations.clone()

    @cached_property
    def _sorted_correlations(self) -> Tensor:
        if not int(self.counts.sum()):
            cause = "A vector can only correlate with the mean of a map, and the SVD step kept nothing of that"
            remedy = "Retain more variance, or observe the layers by 'pool'"
            expected = "kept directions at a frequency that both layers have"
            raise RankError(message("Fourier CCA", expected, "none", cause, remedy))
        pooled = self._pooled(self.block_correlations).sort(descending=True).values
        return torch.cat([pooled, pooled.new_zeros(self.n_correlations - len(pooled))])

    def variate_directions(self, side: Side) -> Tensor:
        """Return the rotations from singular to canonical variates of a side, by alias: (n_blocks, aliases, p, r)."""
        rotation = self.factors.u if side == "x" else self.factors.vh.mH
        index, _ = self.frequencies(side)
        return _by_alias(rotation, index)

    def channel_directions(self, side: Side, scale: Tensor) -> Tensor:
        """Return V_k diag(scale_k) times the canonical rotation, (n_blocks, aliases, n_channels, r)."""
        layer = self.x if side == "x" else self.y
        index, mirrored = self.frequencies(side)
        vectors = (layer.directions * scale[:, None, : layer.directions.shape[2]])[index]
        vectors = torch.where(mirrored[:, :, None, None], vectors.conj(), vectors)
        return vectors @ self.variate_directions(side)

    def projection_weights(self, side: Side, *, squared: bool) -> tuple[Tensor, Tensor]:
        """Return the sum over units, the channels' DFTs, of |<unit, variate>| or its square; and the correlations."""
        layer = self.x if side == "x" else self.y
        loadings = self.channel_directions(side, layer.values).abs()
        weights = (loadings.square() if squared else loadings).sum(dim=(1, 2))
        return self._pooled(weights), self._pooled(self.factors.s)

    def projection_norms(self, side: Side) -> Tensor:
        """Return the length of each kept left singular vector of a side projected on the other layer, (rank,)."""
        layer = self.x if side == "x" else self.y
        index, _ = self.frequencies(side)
        norms = torch.linalg.vector_norm(self._block_matrix, dim=2 if side == "x" else 1)
        spread = torch.zeros_like(layer.values)
        spread[index, : norms.shape[1] // index.shape[1]] = _by_alias(norms, index)
        return layer.spread(spread)

    @cached_property
    def _cross_scatter(self) -> Tensor:
        return self._block_values("x")[:, :, None] * self._block_matrix * self._block_values("y")[:, None, :]

    @property
    def cross_norm(self) -> float:
        """Frobenius norm of the cross-scatter between the kept directions."""
        squares = torch.linalg.vector_norm(self._cross_scatter, dim=(1, 2)).square()
        return math.sqrt(float((squares * self.matching.weights.to(squares.device)).sum()))

    @property
    def cross_singular_values(self) -> Tensor:
        """Singular values of the cross-scatter of the flattened maps between the kept directions."""
        return self._pooled(self.cross_spectrum.s)


def _cut_to_one(values: Tensor) -> tuple[str, ...]:
    """Return a note where singular values of blocks exceed 1 by more than rounding."""
    largest = float(values.max()) if values.numel() else 0.0
    if not largest > 1 + CUT_TO_ONE:
        return ()
    return (
        f"correlations of up to {largest:.2f} were cut to 1, because frequencies of the larger "
        "map that meet at one of the smaller are correlated over these inputs: their shifts are missing, which "
        "Fourier(phases=r) feeds to live models, r the ratio of the sizes, or the layers pad with zeros",
    )


def _by_alias(blocks: Tensor, index: Tensor) -> Tensor:
    """Split the second axis of blocks into aliases and directions."""
    return blocks.reshape(blocks.shape[0], index.shape[1], -1, *blocks.shape[2:])
