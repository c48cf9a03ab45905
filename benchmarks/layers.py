"""Draw layers with a power-law spectrum that share part of their variation, from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import torch
from torch import Tensor


def decay(width: int, kept: int, share: float = 0.99) -> float:
    """Return the exponent a for which `kept` of `width` variances i^(-2a) first hold the share.

    It is the middle of those exponents, so rounding does not move the cut.
    """
    return (_least_decay(width, kept, share) + _least_decay(width, kept - 1, share)) / 2


def _least_decay(width: int, kept: int, share: float) -> float:
    """Return the least exponent for which as few as `kept` directions hold the share."""
    index = torch.arange(1, width + 1, dtype=torch.float64)
    low, high = 0.0, 8.0
    for _ in range(60):
        middle = (low + high) / 2
        held = torch.cumsum(index ** (-2 * middle), dim=0)
        low, high = (low, middle) if int((held < share * held[-1]).sum()) + 1 <= kept else (middle, high)
    return high


def power_law_layers(seed: int, n_samples: int, width: int, kept: int, *, mixing: float = 0.6) -> Iterator[Tensor]:
    """Yield layers (n_samples, width) without end, float32, each with its own rotation, means and noise.

    Singular values fall as i^-a, with a such that `kept` directions hold 99% of the variance, to the last one exactly:
    the columns are made orthonormal first. Canonical correlations of two layers lie around `mixing` squared and above.

    Args:
        seed: The seed of all draws.
        n_samples: The number of rows.
        width: The number of units.
        kept: The number of directions that hold 99% of the variance.
        mixing: The weight of what all layers share.
    """
    shared = _gaussian(seed, 0, n_samples, width)
    spectrum = torch.arange(1, width + 1, dtype=torch.float64) ** -decay(width, kept) * n_samples**0.5
    for index in count(1):
        mixed = mixing * shared + (1 - mixing**2) ** 0.5 * _gaussian(seed, index, n_samples, width)
        basis, _ = torch.linalg.qr(mixed - mixed.mean(dim=0))
        rotation, _ = torch.linalg.qr(_gaussian(seed, -index, width, width))
        yield ((basis * spectrum) @ rotation + 0.5).float()


def _gaussian(seed: int, index: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed * 1000 + index + 500)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
