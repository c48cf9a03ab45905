"""Every layer against every layer: one decomposition a layer, cross products as large matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise

import torch
from torch import Tensor

from svcca.core.arrays import accumulator_dtype, source_eps
from svcca.core.coherence import Coherence
from svcca.core.moments import Moments, column_mean, cross_product
from svcca.core.subspace import Subspace, SVDStep
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

    def pair(self, row: int, column: int) -> Coherence:
        """Give one pair's coherence: a view, no copy."""
        row_slices = _slices([layer.rank for layer in self.rows])
        column_slices = _slices([layer.rank for layer in self.columns])
        return Coherence(self.rows[row], self.columns[column], self.matrix[row_slices[row], column_slices[column]])


class GridAccumulator:
    """Folds batches of rows of many layers; memory does not grow with the number of samples.

    Rows are kept as they come while they are the smaller thing to keep (few samples, wide layers). Once the moments of
    all layers and pairs would be smaller, the rows are folded into those and dropped. Moments are summed in float64,
    a fixed number of rows at a time, so the size of the batches does not change a bit of the result.

    Args:
        self_comparison: Whether the columns are the rows: one set of layers against itself.
        keep_rows: Never fold: a measure needs the rows themselves, and memory grows with the samples.
        memory_budget: Bytes that the rows or the moments may take; None is no limit.
    """

    CHUNK_VALUES = 2**22
    """Values folded at a time: 32 MiB in float64, enough rows to keep a matrix product busy."""

    def __init__(
        self, *, self_comparison: bool = False, keep_rows: bool = False, memory_budget: int | None = None
    ) -> None:
        self.n_samples = 0
        self._self_comparison = self_comparison
        self._keep_rows = keep_rows
        self._memory_budget = math.inf if memory_budget is None else memory_budget
        self._pieces: list[list[Tensor]] = []
        self._sums: _ScatterSums | None = None
        self._n_rows = 0
        self._eps: list[float] = []
        self._widths: list[int] = []
        self._device = torch.device("cpu")

    def update(self, rows: Sequence[Tensor], columns: Sequence[Tensor] = ()) -> None:
        """Fold one batch: a block (n_batch, n_features) of each row layer and of each column layer.

        The caller sees to it that all have the same number of rows, constant widths and finite values, and that
        nobody writes to them afterwards.
        """
        layers = [*rows, *columns]
        self.n_samples += layers[0].shape[0]
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
        """Bytes that one sample takes when kept, over all layers."""
        return sum(layer.shape[1] * layer.element_size() for layer in self._pieces[0])

    def _moment_bytes(self) -> int:
        """Bytes that the moments of all layers and pairs take."""
        widths = self._widths
        total, left = sum(widths), sum(widths[: self._n_rows])
        if self._self_comparison:
            return 8 * total**2
        return 8 * (sum(width**2 for width in widths) + left * (total - left))

    def _fold(self) -> None:
        """Turn the rows kept so far into moments."""
        self._sums = _ScatterSums(self._pieces[0], self._n_rows, self._self_comparison, self.CHUNK_VALUES)
        for layers in self._pieces:
            self._sums.update(layers)
        self._pieces.clear()

    def finish(self, names: Sequence[str], step: SVDStep, *, constant_allowed: Sequence[bool]) -> CoherenceGrid:
        """Decompose each layer once and pair every row layer with every column layer.

        Args:
            names: What each layer is called in an error, row layers first.
            step: The SVD step: which directions of each layer take part.
            constant_allowed: Whether a layer may be constant; it then has rank 0 and its coherence is empty.

        Raises:
            RankError: If a layer is constant that may not be.
        """
        if self._sums is None:
            builders = [partial(self._decompose_rows, index, name, step) for index, name in enumerate(names)]
        else:
            moments, cross = self._sums.finish(self._eps)
            builders = [partial(Subspace.from_moments, m, name) for m, name in zip(moments, names, strict=True)]
        layers = []
        for build, allowed in zip(builders, constant_allowed, strict=True):
            try:
                layers.append(build().keep(step))
            except RankError:
                if not allowed:
                    raise
                layers.append(self._constant(len(layers)))
        left, right = self._sides(layers)
        if self._sums is None:
            return CoherenceGrid(left, right, cross_product(_joined(left), _joined(right)))
        return CoherenceGrid(left, right, _whitened(cross, left, right))

    def _decompose_rows(self, index: int, name: str, step: SVDStep) -> Subspace:
        blocks = [layers[index] for layers in self._pieces]
        return Subspace.from_rows(torch.cat(blocks) if len(blocks) > 1 else blocks[0], name, step=step)

    def _constant(self, index: int) -> Subspace:
        """Rank 0: no direction, no variance."""
        width, dtype = self._widths[index], torch.float64
        none, directions, basis = (
            torch.zeros(*shape, dtype=dtype, device=self._device) for shape in ((0,), (width, 0), (self.n_samples, 0))
        )
        mean = torch.zeros(width, dtype=dtype, device=self._device)
        return Subspace(self.n_samples, mean, none, directions, 0.0, basis)

    def _sides(self, layers: list[Subspace]) -> tuple[tuple[Subspace, ...], tuple[Subspace, ...]]:
        left = tuple(layers[: self._n_rows])
        return left, left if self._self_comparison else tuple(layers[self._n_rows :])


class _ScatterSums:
    """Running mean and scatter of all layers side by side, folded in place a fixed number of rows at a time."""

    def __init__(self, layers: Sequence[Tensor], n_rows: int, self_comparison: bool, chunk_values: int) -> None:
        widths = [layer.shape[1] for layer in layers]
        total = sum(widths)
        device = layers[0].device
        dtype = reduce(torch.promote_types, [accumulator_dtype(layer.dtype) for layer in layers])
        self.n_samples = 0
        self._slices = _slices(widths)
        self._left = slice(0, sum(widths[:n_rows]))
        self._right = self._left if self_comparison else slice(self._left.stop, total)
        self._chunk_rows = min(max(chunk_values // total, 256), 4096)
        self._filled = 0
        # One row more than a chunk: the shift between the old mean and the chunk's rides along in the same product.
        self._buffer = torch.empty(self._chunk_rows + 1, total, dtype=dtype, device=device)
        # Rows are taken relative to the first: what is constant is exactly zero, a large mean costs the sums no digit.
        self._origin = torch.cat([layer[0].to(dtype) for layer in layers])
        self._mean = torch.zeros(total, dtype=dtype, device=device)
        self._cross = torch.zeros(self._left.stop, self._right.stop - self._right.start, dtype=dtype, device=device)
        if self_comparison:
            self._scatters = [self._cross[block, block] for block in self._slices]
        else:
            self._scatters = [torch.zeros(width, width, dtype=dtype, device=device) for width in widths]
        self._self_comparison = self_comparison

    def update(self, layers: Sequence[Tensor]) -> None:
        """Copy a batch into the buffer, folding whenever it is full."""
        n_batch, start = layers[0].shape[0], 0
        while start < n_batch:
            step = min(n_batch - start, self._chunk_rows - self._filled)
            for block, layer in zip(self._slices, layers, strict=True):
                target = self._buffer[self._filled : self._filled + step, block]
                torch.sub(layer[start : start + step], self._origin[block], out=target)
            self._filled += step
            start += step
            if self._filled == self._chunk_rows:
                self._fold()

    def _fold(self) -> None:
        """Merge the buffered rows (Chan, Golub & LeVeque 1983): centre them, add the shift of the mean as a row."""
        n_new = self._filled
        rows = self._buffer[:n_new]
        mean = column_mean(rows)
        rows -= mean
        shift = mean - self._mean
        total = self.n_samples + n_new
        self._buffer[n_new] = shift * (self.n_samples * n_new / total) ** 0.5
        self._mean += shift * (n_new / total)
        self.n_samples, self._filled = total, 0
        rows = self._buffer[: n_new + 1]
        self._cross.addmm_(rows[:, self._left].mH, rows[:, self._right])
        if not self._self_comparison:
            for block, scatter in zip(self._slices, self._scatters, strict=True):
                scatter.addmm_(rows[:, block].mH, rows[:, block])

    def finish(self, eps: Sequence[float]) -> tuple[list[Moments], Tensor]:
        """Moments of each layer, and the cross-scatter of all row layers with all column layers."""
        if self._filled:
            self._fold()
        moments = [
            Moments(self.n_samples, self._origin[block] + self._mean[block], scatter, e)
            for block, scatter, e in zip(self._slices, self._scatters, eps, strict=True)
        ]
        return moments, self._cross


def _slices(sizes: Sequence[int]) -> list[slice]:
    edges = [0]
    for size in sizes:
        edges.append(edges[-1] + size)
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _joined(layers: Sequence[Subspace]) -> Tensor:
    """Orthonormal bases side by side, (n_samples, sum of ranks)."""
    return torch.cat([layer.basis for layer in layers if layer.basis is not None], dim=1)


def _whitened(cross: Tensor, left: Sequence[Subspace], right: Sequence[Subspace]) -> Tensor:
    """Coherence matrices of all pairs from their cross-scatter: W_x^H S_xy W_y, one product a layer and side."""
    row_blocks = _slices([layer.n_features for layer in left])
    column_blocks = _slices([layer.n_features for layer in right])
    half = torch.cat([layer.whitener.mH @ cross[block] for layer, block in zip(left, row_blocks, strict=True)])
    return torch.cat(
        [half[:, block] @ layer.whitener for layer, block in zip(right, column_blocks, strict=True)], dim=1
    )
