"""The interface of what folds batches of many layers, and of the grid of pairs it leaves.

`core.grid` is the dense one, `fourier.grid` the one by spatial frequency.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from svcca.core.coherence import LayerPair, LayerSpectrum
from svcca.core.subspace import SVDStep


class Grid(Protocol):
    """Row and column layers, each decomposed once, and the pair of any two of them."""

    @property
    def rows(self) -> Sequence[LayerSpectrum]:
        """The row layers, in the order of the batches."""
        ...

    @property
    def columns(self) -> Sequence[LayerSpectrum]:
        """The column layers; the same object as `rows` where a set of layers is held against itself."""
        ...

    def pair(self, row: int, column: int) -> LayerPair:
        """Pair a row layer with a column layer."""
        ...


class Accumulator(Protocol):
    """Sums over batches of rows of many layers; nothing is decomposed before the last batch."""

    @property
    def n_samples(self) -> int:
        """Number of samples seen."""
        ...

    def update(self, rows: Sequence[Tensor], columns: Sequence[Tensor] = ()) -> None:
        """Fold one batch of each row layer and of each column layer, samples first.

        The caller sees to it that all have the same number of samples, the shapes of the first batch and finite
        values, and that nobody writes to them afterwards.

        Args:
            rows: A block of each row layer.
            columns: A block of each column layer; none where a set of layers is held against itself.

        Raises:
            InputError: If more memory is needed than was allowed.
        """
        ...

    def finish(
        self,
        names: Sequence[str],
        step: SVDStep,
        *,
        constant_allowed: Sequence[bool],
        column_step: SVDStep | None = None,
    ) -> Grid:
        """Decompose each layer once; no batch may follow.

        Args:
            names: The name of each layer in an error, row layers first.
            step: The SVD step: which directions of each layer take part.
            constant_allowed: Whether each layer may be constant; it then has rank 0, and none of its pairs a value.
            column_step: The SVD step of the column layers; None: that of the rows.

        Raises:
            RankError: If a layer is constant that may not be.
        """
        ...
