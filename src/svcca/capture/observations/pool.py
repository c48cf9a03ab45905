"""Maps by the mean of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from svcca.capture.observations.base import Observation
from svcca.capture.observations.shapes import check_axes, widened


@dataclass(frozen=True)
class Pool(Observation):
    """A sample is a row; a feature is a channel's mean over all positions. Keeps only the mean (zero frequency)."""

    name: ClassVar[str] = "pool"

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, channels, *positions) -> (n, channels)."""
        check_axes(output, where, "pool", 2, "(n_samples, channels, *positions)")
        return output if output.ndim == 2 else widened(output).flatten(2).mean(dim=2)

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule."""
        return "pool" if len(shape) > 2 else "flatten"
