"""Every layer against every layer by spatial frequency, in one pass: the counterpart of `grid` for maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from svcca.core.accumulator import Accumulator
from svcca.core.arrays import source_eps
from svcca.core.resample import largest, resized
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, RankError, message
from svcca.fourier.coherence import FourierCoherence
from svcca.fourier.frequencies import Matching, Resize
from svcca.fourier.spectra import SpectralSums
from svcca.fourier.subspace import FourierSubspace


@dataclass(frozen=True, eq=False)
class FourierGrid:
    """Subspaces of row and column layers, and the coherence of any pair of them.

    Attributes:
        rows: Subspaces of the row layers.
        columns: Subspaces of the column layers.
    """

    rows: tuple[FourierSubspace, ...]
    columns: tuple[FourierSubspace, ...]
    _cross: Callable[[int, int], tuple[Matching, Tensor]]

    def pair(self, row: int, column: int) -> FourierCoherence:
        """Whiten the cross-scatter of a pair and return its coherence."""
        matching, cross = self._cross(row, column)
        return FourierCoherence.from_cross(self.rows[row], self.columns[column], matching, cross)


class FourierAccumulator(Accumulator):
    """Folds batches of maps of many layers; memory does not grow with the number of samples.

    Args:
        self_comparison: Whether the columns are the rows: one set of layers against itself.
        resize: What to do with maps whose sizes do not divide; see `match_frequencies`.
        memory_budget: Bytes that the moments may take; None (default) sets no limit.
    """

    def __init__(
        self, *, self_comparison: bool = False, resize: Resize | None = None, memory_budget: int | None = None
    ) -> None:
        self._self_comparison = self_comparison
        self._resize = resize
        self._memory_budget = math.inf if memory_budget is None else memory_budget
        self._sums: SpectralSums | None = None
        self._n_rows = 0
        self._eps: list[float] = []

    @property
    def n_samples(self) -> int:
        """Number of samples seen."""
        return 0 if self._sums is None else self._sums.n_samples

    def update(self, rows: Sequence[Tensor], columns: Sequence[Tensor] = ()) -> None:
        """Fold one batch: maps (n_batch, n_channels, *sizes), or vectors (n_batch, n_channels), of every layer.

        See `Accumulator.update` for what the caller sees to.

        Raises:
            InputError: If the frequencies of two maps do not match, or the moments exceed the memory budget.
        """
        layers = of_one_size([*rows, *columns], self._resize)
        if self._sums is None:
            self._n_rows = len(rows)
            self._eps = [source_eps(layer.dtype) for layer in layers]
            self._sums = SpectralSums(layers, len(rows), self_comparison=self._self_comparison, resize=self._resize)
            if (needed := self._sums.n_bytes()) > self._memory_budget:
                expected = f"a memory budget of {self._memory_budget / 1e9:.3g} GB to be enough"
                remedy = "Compare fewer layers, observe them by 'pool', or allow more"
                got = f"{needed / 1e9:.3g} GB of moments by frequency"
                raise InputError(message("memory_budget", expected, got, "", remedy))
        self._sums.update(layers)

    def finish(
        self,
        names: Sequence[str],
        step: SVDStep,
        *,
        constant_allowed: Sequence[bool],
        column_step: SVDStep | None = None,
    ) -> FourierGrid:
        """Decompose each layer once; pairs are whitened when they are asked for. See `Accumulator.finish`."""
        assert self._sums is not None, "finish() follows update()"
        sums, layers = self._sums, []
        for index, (name, allowed) in enumerate(zip(names, constant_allowed, strict=True)):
            moments, own = sums.moments(index), step if index < self._n_rows else column_step or step
            try:
                layers.append(FourierSubspace.from_moments(moments, self._eps[index], name).truncate(own))
            except RankError:
                if not allowed:
                    raise
                layers.append(FourierSubspace.constant(moments))
        left = tuple(layers[: self._n_rows])
        if self._self_comparison:
            return FourierGrid(left, left, sums.cross)
        return FourierGrid(left, tuple(layers[self._n_rows :]), lambda i, j: sums.cross(i, self._n_rows + j))


def of_one_size(layers: Sequence[Tensor], resize: Resize | None) -> Sequence[Tensor]:
    """Interpolate maps to the largest size among them where `resize` says so; vectors stay as they are."""
    if resize != "interpolate":
        return layers
    sizes = largest([tuple(layer.shape[2:]) for layer in layers if layer.ndim > 2])
    return [resized(layer, sizes) if layer.ndim > 2 else layer for layer in layers]
