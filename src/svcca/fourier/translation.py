"""How far maps are from the assumption of the Fourier way, as a number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, to_maps
from svcca.errors import InputError, NonFiniteError, message
from svcca.fourier.gap import Gap, share_off
from svcca.fourier.spectra import SpectralSums

POSITIONS = 256
"""Number of positions sampled for the covariance within positions."""


@dataclass(frozen=True)
class TranslationGap:
    """Share of a layer's covariance energy off the diagonal blocks, without and with the DFT; each in [0, 1].

    Attributes:
        before: Share between different positions, which treating positions as independent would leave out.
        after: Share between different frequencies, which the Fourier way leaves out; 0 for translation equivariant
            layers over inputs closed under cyclic shifts.
        error: Standard error of `after`; large where the samples are few for so many frequencies.
    """

    before: float
    after: float
    error: float


def translation_gap(x: ArrayLike, *, n_pairs: int = 1024, seed: int = 0, channels_last: bool = False) -> TranslationGap:
    """Measure how far maps are from a covariance that the DFT makes block diagonal.

    Energy is the sum of squares of the covariance of the maps, less the mean of each channel, with the part taken off
    that chance would give for this number of samples. Both are estimates: from a sample of pairs of frequencies, drawn
    by their energy, and of positions.

    Args:
        x: Maps (n_samples, n_channels, *sizes), real.
        n_pairs: Number of pairs of frequencies to sample. Default 1024.
        seed: Seed of both samples. Default 0.
        channels_last: Whether maps are (n_samples, *sizes, n_channels). Default False.

    Raises:
        InputError: If `x` is not an array of maps of several positions.
        NonFiniteError: If it holds NaN or infinity, or its energies overflow.

    Cost:
        As `fourier_cca` of one layer, and 8 n c^2 operations a pair.

    References:
        Raghu et al. (2017), appendix C and figure App. 2.

    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(2000, 1, 6, 6))
    >>> ramp = noise * np.linspace(1, 3, 6)
    >>> translation_gap(noise).after < 0.02 < 0.1 < translation_gap(ramp).after
    True
    """
    if not isinstance(n_pairs, int) or n_pairs < 1:
        raise InputError(message("translation_gap", "n_pairs as a positive integer", repr(n_pairs)))
    maps = to_maps(x, "translation_gap", channels_last)
    if maps.ndim == 2 or maps[0, 0].numel() == 1:
        expected, got = "maps of several positions", f"shape {tuple(maps.shape)}"
        raise InputError(message("translation_gap", expected, got))
    sums = SpectralSums([maps], 1, self_comparison=True, n_pairs=n_pairs, gap_channels=None, seed=seed)
    sums.update([maps])
    moments = sums.moments(0)
    gap = moments.gap
    if not math.isfinite(gap.on + gap.off):
        remedy = "Scale the maps"
        raise NonFiniteError(message("translation_gap", "energies within float64", "an overflow", remedy=remedy))
    within = _within_positions(maps, moments.mean, seed)
    return TranslationGap(share_off(within, max(0.0, gap.on + gap.off - within)), gap.share, gap.error)


def _within_positions(maps: Tensor, mean: Tensor, seed: int) -> float:
    """Estimate the energy of the channels' covariance at single positions, summed over these, on `GapSums`' scale."""
    flat = maps.flatten(2)
    n_positions = flat.shape[2]
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(n_positions, generator=generator)[:POSITIONS]
    rows = (flat[:, :, chosen.to(flat.device)].double() - mean[:, None]).permute(2, 0, 1)
    squares = torch.linalg.vector_norm(rows.mT @ rows, dim=(1, 2)).square()
    own_terms = rows.square().sum(dim=2).square().sum(dim=1)
    return max(0.0, float((squares - own_terms).mean())) * n_positions


def gap_warnings(where: str, gap: Gap) -> list[str]:
    """Return the doubts about a layer's translation gap, each with the layer's name."""
    return [f"{where}: {doubt.text}" for doubt in gap.doubts]
