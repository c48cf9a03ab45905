"""Moments of single layers, alone or together with the targets beside them, folded from a stream."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from svcca.capture.stream import Streamed
from svcca.core.arrays import source_eps
from svcca.core.moments import JointMoments, Moments
from svcca.core.scatter import CHUNK_VALUES, ScatterSums


class MomentsFold:
    """Running moments of each layer of a network, and of the targets beside its rows."""

    def __init__(self) -> None:
        self._sums: dict[str, ScatterSums] = {}
        self._eps: dict[str, list[float]] = {}

    def update(self, batch: Streamed) -> None:
        """Fold the rows of one batch."""
        (rows,) = batch.rows
        blocks = {name: _blocks(name, block, batch.targets) for name, block in rows.items()}
        for name, own in blocks.items():
            if name not in self._sums:
                self._eps[name] = [source_eps(block.dtype) for block in own]
                # The buffers of all layers together take no more than one alone would.
                chunk = CHUNK_VALUES // len(blocks)
                self._sums[name] = ScatterSums(own, 1, self_comparison=len(own) == 1, chunk_values=chunk)
            self._sums[name].update(own)

    def finish(self) -> dict[str, tuple[Moments, JointMoments | None]]:
        """Return the moments of each layer, and those with its targets where there are any."""
        found = {}
        for name, sums in self._sums.items():
            means, scatters, cross = sums.finish()
            x, *y = (Moments(sums.n_samples, *each) for each in zip(means, scatters, self._eps[name], strict=True))
            found[name] = (x, JointMoments(x, y[0], cross) if y else None)
        return found


def _blocks(name: str, rows: Tensor, targets: Mapping[str, Tensor]) -> list[Tensor]:
    return [rows, targets[name]] if targets else [rows]
