"""How far from the Fourier way's assumption maps are, as a number that a user can ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, to_maps
from svcca.errors import InputError, NonFiniteError, message
from svcca.fourier.gap import Gap, share_off
from svcca.fourier.spectra import SpectralSums

GAP_WARNING = 0.3
"""Translation gap above which a result carries a warning."""
POSITIONS = 256
"""Positions sampled for the covariance within positions."""


@dataclass(frozen=True)
class TranslationGap:
    """Share of a layer's covariance energy off the diagonal blocks, without and with the DFT; each in [0, 1].

    Attributes:
        before: Between different positions: what treating positions as independent would leave out.
        after: Between different frequencies: what the Fourier way leaves out. 0 for translation equivariant layers over
            inputs closed under cyclic shifts.
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
        n_pairs: Pairs of frequencies to sample.
        seed: Of both samples.
        channels_last: Whether maps are (n_samples, *sizes, n_channels).

    Raises:
        InputError: For arrays that are no maps, or have one position.

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
    """Energy of the covariance of the channels at one position, summed over positions; on the scale of `GapSums`."""
    flat = maps.flatten(2)
    n_positions = flat.shape[2]
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(n_positions, generator=generator)[:POSITIONS]
    rows = (flat[:, :, chosen.to(flat.device)].double() - mean[:, None]).permute(2, 0, 1)
    squares = torch.linalg.vector_norm(rows.mT @ rows, dim=(1, 2)).square()
    own_terms = rows.square().sum(dim=2).square().sum(dim=1)
    return max(0.0, float((squares - own_terms).mean())) * n_positions


def gap_warnings(where: str, gap: Gap) -> list[str]:
    """Say in plain words that the assumption is far from the truth, if it is so beyond the error of the estimate."""
    if not gap.share - 2 * gap.error > GAP_WARNING:
        return []
    return [
        f"{where}: {gap.share:.0%} of the covariance's energy lies between different spatial frequencies, which the "
        "Fourier way takes to be zero. Zero padding does that, and strides, for which Fourier(phases=r) feeds the "
        "missing shifts to a live model of stride r in all. 'pool' and 'pixels' assume nothing of the kind."
    ]
