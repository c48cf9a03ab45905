"""Every layer against every layer: one decomposition a layer, cross products as large matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from svcca.core.accumulator import Accumulator
from svcca.core.arrays import source_eps
from svcca.core.coherence import Coherence
from svcca.core.moments import Moments
from svcca.core.scatter import CHUNK_VALUES, ScatterSums, cross_product, slices
from svcca.core.subspace import Subspace, SVDStep, decompose
from svcca.errors import InputError, RankError, message


@dataclass(frozen=True, eq=False)
class CoherenceGrid:
    """Subspaces of row and column layers and the coherence matrices of all pairs, in one array.

    Attributes:
        rows: Subspaces of the row layers.
        columns: Subspaces of the column layers.
        matrix: K of all pairs as blocks, (sum of row ranks, sum of column ranks), float64.
    """

    rows: tuple[Subspace, ...]
    columns: tuple[Subspace, ...]
    matrix: Tensor

    @classmethod
    def from_subspaces(cls, rows: Sequence[Subspace], columns: Sequence[Subspace]) -> CoherenceGrid:
        """Pair layers that hold their bases over the same samples: one product a row layer."""
        return cls(tuple(rows), tuple(columns), _products(rows, columns))

    def pair(self, row: int, column: int) -> Coherence:
        """Return the coherence of a pair: a view, no copy."""
        row_slices = slices([layer.rank for layer in self.rows])
        column_slices = slices([layer.rank for layer in self.columns])
        return Coherence(self.rows[row], self.columns[column], self.matrix[row_slices[row], column_slices[column]])


class GridAccumulator(Accumulator):
    """Folds batches of rows of many layers; memory does not grow with the number of samples.

    Rows are kept as they come while they are the smaller thing to keep (few samples, wide layers). Once the moments of
    all layers and pairs would be smaller, the rows are folded into those and dropped. Moments are summed in float64,
    a fixed number of rows at a time, so the size of the batches does not change a bit of the result.

    Args:
        self_comparison: Whether the columns are the rows: one set of layers against itself.
        keep_rows: Whether to keep the rows, because a measure needs them; memory then grows with the samples.
        memory_budget: Bytes that the rows or the moments may take; None (default) sets no limit.
    """

    CHUNK_VALUES = CHUNK_VALUES
    """Values folded at a time."""

    def __init__(
        self, *, self_comparison: bool = False, keep_rows: bool = False, memory_budget: int | None = None
    ) -> None:
        self._n_samples = 0
        self._self_comparison = self_comparison
        self._keep_rows = keep_rows
        self._memory_budget = math.inf if memory_budget is None else memory_budget
        self._pieces: list[list[Tensor]] = []
        self._sums: ScatterSums | None = None
        self._n_rows = 0
        self._eps: list[float] = []
        self._widths: list[int] = []
        self._device = torch.device("cpu")

    @property
    def n_samples(self) -> int:
        """Number of samples seen."""
        return self._n_samples

    def update(self, rows: Sequence[Tensor], columns: Sequence[Tensor] = ()) -> None:
        """Fold one batch: a block (n_batch, n_features) of each row layer and of each column layer.

        See `Accumulator.update` for what the caller sees to.

        Raises:
            InputError: If neither the rows nor the moments fit the memory budget.
        """
        layers = [*rows, *columns]
        self._n_samples += layers[0].shape[0]
        if self._sums is not None:
            self._sums.update(layers)
            return
        if not self._pieces:
            self._n_rows = len(rows)
            self._eps = [source_eps(layer.dtype) for layer in layers]
            self._widths = [layer.shape[1] for layer in layers]
            self._device = layers[0].device
        self._pieces.append(layers)
        row_bytes, moment_bytes = self.n_samples * self._row_bytes(), self._moment_bytes()
        least = row_bytes if self._keep_rows else min(row_bytes, moment_bytes)
        if least > self._memory_budget:
            raise self._over_budget(row_bytes, moment_bytes)
        if row_bytes > moment_bytes and not self._keep_rows:
            self._fold()

    def _over_budget(self, row_bytes: int, moment_bytes: int) -> InputError:
        got = f"{row_bytes / 1e9:.3g} GB of rows after {self.n_samples} samples"
        if not self._keep_rows:
            got += f", {moment_bytes / 1e9:.3g} GB of moments"
        expected = f"a memory budget of {self._memory_budget / 1e9:.3g} GB to be enough"
        remedy = "Compare fewer layers, observe wide ones by 'pool' or 'pixels', or allow more"
        return InputError(message("memory_budget", expected, got, "", remedy))

    def _row_bytes(self) -> int:
        """Return the bytes that one sample takes when kept, over all layers."""
        return sum(layer.shape[1] * layer.element_size() for layer in self._pieces[0])

    def _moment_bytes(self) -> int:
        """Return the bytes that the moments of all layers and pairs take."""
        widths = self._widths
        total, left = sum(widths), sum(widths[: self._n_rows])
        if self._self_comparison:
            return 8 * total**2
        return 8 * (sum(width**2 for width in widths) + left * (total - left))

    def _fold(self) -> None:
        """Turn the rows kept so far into moments."""
        self._sums = ScatterSums(
            self._pieces[0], self._n_rows, self_comparison=self._self_comparison, chunk_values=self.CHUNK_VALUES
        )
        for layers in self._pieces:
            self._sums.update(layers)
        self._pieces.clear()

    def finish(
        self,
        names: Sequence[str],
        step: SVDStep,
        *,
        constant_allowed: Sequence[bool],
        column_step: SVDStep | None = None,
    ) -> CoherenceGrid:
        """Decompose each layer once and pair every row layer with every column layer; see `Accumulator.finish`."""
        steps = [step if index < self._n_rows else column_step or step for index in range(len(names))]
        if self._sums is None:
            builders = [
                partial(self._decompose_rows, index, name, own)
                for index, (name, own) in enumerate(zip(names, steps, strict=True))
            ]
        else:
            means, scatters, cross = self._sums.finish()
            moments = [
                Moments(self.n_samples, mean, scatter, eps)
                for mean, scatter, eps in zip(means, scatters, self._eps, strict=True)
            ]
            builders = [partial(Subspace.from_moments, m, name) for m, name in zip(moments, names, strict=True)]
        layers = []
        for build, own, allowed in zip(builders, steps, constant_allowed, strict=True):
            try:
                layers.append(build().truncate(own))
            except RankError:
                if not allowed:
                    raise
                layers.append(self._constant(len(layers)))
        left, right = self._sides(layers)
        if self._sums is None:
            return CoherenceGrid.from_subspaces(left, right)
        return CoherenceGrid(left, right, _whitened(cross, left, right))

    def _decompose_rows(self, index: int, name: str, step: SVDStep) -> Subspace:
        blocks = [layers[index] for layers in self._pieces]
        return decompose(torch.cat(blocks) if len(blocks) > 1 else blocks[0], name, step=step)

    def _constant(self, index: int) -> Subspace:
        """Return the subspace of a constant layer: no direction, no variance."""
        width, dtype = self._widths[index], torch.float64
        none, directions, basis = (
            torch.zeros(*shape, dtype=dtype, device=self._device) for shape in ((0,), (width, 0), (self.n_samples, 0))
        )
        mean = torch.zeros(width, dtype=dtype, device=self._device)
        return Subspace(self.n_samples, mean, none, directions, 0.0, basis)

    def _sides(self, layers: list[Subspace]) -> tuple[tuple[Subspace, ...], tuple[Subspace, ...]]:
        left = tuple(layers[: self._n_rows])
        return left, left if self._self_comparison else tuple(layers[self._n_rows :])


def _products(left: Sequence[Subspace], right: Sequence[Subspace]) -> Tensor:
    """Return the coherence matrices of all pairs from their bases: one product a row layer, with all columns."""
    bases = [layer.basis for layer in left if layer.basis is not None]
    joined = torch.cat([layer.basis for layer in right if layer.basis is not None], dim=1)
    return torch.cat([cross_product(basis, joined) for basis in bases])


def _whitened(cross: Tensor, left: Sequence[Subspace], right: Sequence[Subspace]) -> Tensor:
    """Return the coherence matrices of all pairs from their cross-scatter, W_x^H S_xy W_y: one product a layer."""
    row_blocks = slices([layer.n_features for layer in left])
    column_blocks = slices([layer.n_features for layer in right])
    half = torch.cat(
        [cross_product(layer.whitener, cross[block]) for layer, block in zip(left, row_blocks, strict=True)]
    )
    return torch.cat(
        [cross_product(half[:, block].mH, layer.whitener) for layer, block in zip(right, column_blocks, strict=True)],
        dim=1,
    )
