"""Every position of a map is a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from svcca.capture.observations.base import Observation
from svcca.capture.observations.shapes import check_axes


@dataclass(frozen=True)
class Pixels(Observation):
    """Every position of every sample is a row; a feature is a channel. Needs maps of one size on both sides.

    Attributes:
        n_positions: Number of positions to take, the same ones in every sample and layer; None takes all.
        seed: The seed of that choice.
    """

    n_positions: int | None = None
    seed: int = 0
    name: ClassVar[str] = "pixels"
    per_sample: ClassVar[bool] = False

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, channels, *positions) -> (n * n_positions, channels)."""
        check_axes(output, where, "pixels", 3, "(n_samples, channels, *positions)")
        maps = output.flatten(2)
        if self.n_positions is not None and self.n_positions < maps.shape[2]:
            maps = maps[:, :, self._chosen(maps.shape[2]).to(maps.device)]
        return maps.transpose(1, 2).reshape(-1, maps.shape[1])

    def _chosen(self, n_available: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randperm(n_available, generator=generator)[: self.n_positions].sort().values

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule, with how many positions it took."""
        available = math.prod(shape[2:])
        if self.n_positions is None or self.n_positions >= available:
            return f"pixels (all {available} positions)"
        return f"pixels ({self.n_positions} of {available} positions, seed {self.seed})"

    def positions(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return height and width, or whatever axes there are."""
        return tuple(shape[2:])

    def advice(self, sizes: Sequence[tuple[int, ...]]) -> str:
        """Recommend the rule for maps of one size."""
        return "'pixels', since they have one size" if len(sizes) == 1 else ""
