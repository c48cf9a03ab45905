"""Maps resized to one size, then every position is a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from svcca.capture.observations.base import Observation, Shape
from svcca.capture.observations.pixels import Pixels
from svcca.capture.observations.shapes import check_axes, size_in_words, widened
from svcca.core.resample import largest, resized
from svcca.errors import InputError, message


@dataclass(frozen=True)
class Interpolate(Observation):
    """As `Pixels`, for maps of other sizes: all are resized to the largest among them first, bilinear. Approximate.

    Attributes:
        sizes: The size that maps are resized to; None: along each axis the largest of all layers observed so.
        n_positions: Number of positions to take; None takes all.
        seed: The seed of that choice.
    """

    sizes: tuple[int, ...] | None = None
    n_positions: int | None = None
    seed: int = 0
    name: ClassVar[str] = "interpolate"
    per_sample: ClassVar[bool] = False

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, channels, *any sizes) -> (n * n_positions, channels)."""
        check_axes(output, where, "interpolate", 3, "(n_samples, channels, *positions)")
        if self.sizes is not None and len(self.sizes) != output.ndim - 2:
            got = f"shape {tuple(output.shape)}"
            expected = f"maps with {len(self.sizes)} spatial axes, as in the other layers"
            raise InputError(message(where, expected, got, "", "Observe it by another rule, e.g. 'pool'"))
        return self._pixels.rows(resized(widened(output), self.sizes or output.shape[2:]), mask, where)

    @property
    def _pixels(self) -> Pixels:
        return Pixels(self.n_positions, self.seed)

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule, with both sizes."""
        sizes = self.sizes or tuple(shape[2:])
        taken = self._pixels.describe((*shape[:2], *sizes)).removeprefix("pixels")
        return f"interpolate {size_in_words(shape[2:])} to {size_in_words(sizes)}{taken}"

    def positions(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return height and width after resizing."""
        return tuple(self.sizes or shape[2:])

    def settled(self, shapes: Sequence[Shape]) -> Interpolate:
        """Return the rule with the size that maps are resized to: the largest along each axis."""
        if self.sizes is not None:
            return self
        maps = [tuple(shape[2:]) for shape in shapes if len(shape) > 2]
        same_rank = [sizes for sizes in maps if len(sizes) == len(maps[0])]
        return replace(self, sizes=largest(same_rank) if same_rank else ())

    def advice(self, sizes: Sequence[tuple[int, ...]]) -> str:
        """Recommend the rule for maps of several sizes."""
        return "'interpolate', since their sizes differ" if len(sizes) > 1 else ""
