"""Linear interpolation of maps to another size, along any number of axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def resized(maps: Tensor, sizes: Sequence[int]) -> Tensor:
    """Interpolate maps (n, c, *sizes) to other sizes, bilinear (linear, trilinear), pixel centres aligned.

    Axes are taken one after the other: each is a product with a matrix of two weights a row.
    """
    for axis, size in enumerate(sizes, start=2):
        if maps.shape[axis] != size:
            weights = _weights(maps.shape[axis], size).to(maps)
            maps = (maps.movedim(axis, -1) @ weights).movedim(-1, axis)
    return maps


def largest(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the largest size along each axis over maps of several sizes."""
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))


def _weights(old: int, new: int) -> Tensor:
    """Return the matrix (old, new) from values at the centres of `old` pixels to those of `new` on the same length."""
    centres = ((torch.arange(new, dtype=torch.float64) + 0.5) * (old / new) - 0.5).clamp(0, old - 1)
    distance = (torch.arange(old, dtype=torch.float64)[:, None] - centres).abs()
    return (1 - distance).clamp_min(0)
