"""How far maps are from what the DFT assumes: covariance between different spatial frequencies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from svcca.errors import Doubt
from svcca.fourier.frequencies import FrequencyGrid, ravel

N_PAIRS = 128
"""Number of pairs of frequencies that a pass samples: the share is then known to 0.03 to 0.1."""
N_CHANNELS = 64
"""Number of channels that a pass looks at: the energy, a sum of squares, lies in the strongest."""
GAP_WARNING = 0.3
"""Translation gap above which a layer carries a doubt."""


@dataclass(frozen=True)
class Gap:
    """Energy of a covariance, the sum of its squares, on its diagonal blocks and off them.

    Attributes:
        on: Energy within frequencies.
        off: Energy between frequencies, estimated.
        off_error: Standard error of that estimate.
    """

    on: float
    off: float
    off_error: float

    @property
    def share(self) -> float:
        """Share off the diagonal blocks, in [0, 1]; 0 where there is no energy at all."""
        return share_off(self.on, self.off)

    @property
    def error(self) -> float:
        """Standard error of the share, at most 1."""
        total = self.on + self.off
        return min(1.0, self.off_error * self.on / total**2) if total > 0 else 0.0

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """One doubt, without the layer's name, where the share is large beyond the error of its estimate."""
        if not self.share - 2 * self.error > GAP_WARNING:
            return ()
        text = (
            f"{self.share:.0%} of the covariance's energy lies between different spatial frequencies, which the "
            "Fourier way takes to be zero. Zero padding does that, and strides, for which Fourier(phases=r) feeds the "
            "missing shifts to a live model of stride r in all. 'pool' and 'pixels' assume nothing of the kind."
        )
        return (Doubt("translation", text),)


class GapSums:
    """Covariance of a seeded sample of frequency pairs, summed batch by batch.

    A pair (k, l) of the full plane is drawn with a known probability p_kl, and the sum over all pairs of |C_kl|^2 is
    estimated by the mean of |C_kl|^2 / p_kl. Its spread is small where p_kl is large for the pairs that matter: k goes
    by its energy in the first batch; l by its own energy for one half, and near k for the other, since what depends on
    the position, such as a border, couples neighbours most. From each |C_kl|^2 that part is taken off which finitely
    many independent samples would give unrelated frequencies: the terms of a sample with itself.

    Args:
        spectra: DFT of the first batch of the layer, (n_kept, n_samples, n_channels).
        grid: The layer's frequencies.
        n_pairs: Number of pairs to draw.
        n_channels: Number of channels to look at, those of most energy in the first batch; None: all.
        seed: Seed of the draw.
    """

    def __init__(
        self,
        spectra: Tensor,
        grid: FrequencyGrid,
        n_pairs: int = N_PAIRS,
        n_channels: int | None = N_CHANNELS,
        seed: int = 0,
    ) -> None:
        self._channels: Tensor | slice = slice(None)
        if n_channels is not None and n_channels < spectra.shape[2]:
            strength = torch.view_as_real(spectra[1:]).double().square().sum(dim=(0, 1, 3))
            self._channels = strength.argsort(descending=True)[:n_channels]
            spectra = spectra[:, :, self._channels]
        energy = _power(spectra).mean(dim=1)
        energy[0] = _power(spectra[:1] - spectra[:1].mean(dim=1, keepdim=True)).mean()
        first, second, self._probability = _drawn_pairs(grid, grid.plane(energy).flatten().cpu(), n_pairs, seed)
        device = spectra.device
        (a, a_mirrored), (b, b_mirrored) = (grid.locate(coordinates) for coordinates in (first, second))
        self._a, self._b, self._mirrored = a.to(device), b.to(device), (a_mirrored ^ b_mirrored).to(device)
        width = spectra.shape[2]
        self._n_samples = 0
        self._cross = torch.zeros(n_pairs, width, width, dtype=torch.complex128, device=device)
        self._own_terms = torch.zeros(n_pairs, dtype=torch.float64, device=device)
        self._own_terms_on_diagonal = torch.zeros(grid.n_kept, dtype=torch.float64, device=device)
        self._weights = grid.weights.to(device)

    def update(self, spectra: Tensor) -> None:
        """Add the DFT of a batch, (n_kept, n_samples, n_channels)."""
        spectra = spectra[:, :, self._channels]
        power = _power(spectra)
        self._n_samples += spectra.shape[1]
        self._own_terms += (power[self._a] * power[self._b]).sum(dim=1)
        self._own_terms_on_diagonal += power.square().sum(dim=1)
        a, b = (spectra[index].to(torch.complex128) for index in (self._a, self._b))
        # conj(A^H B), as in the sums of a spectrum.
        self._cross.baddbmm_(a.mT, torch.where(self._mirrored[:, None, None], b, b.conj()))

    def gap(self, scatter: Tensor, sums: Tensor) -> Gap:
        """Estimate the energy of the covariance on and off the diagonal blocks, up to one factor, never negative.

        Args:
            scatter: X_k^H X_k at each frequency, centred at the zero frequency, (n_kept, n_channels, n_channels).
            sums: Sum of the spectra over samples, (n_kept, n_channels).
        """
        cross, sums = self._cross.clone(), sums[:, self._channels]
        scatter = scatter[:, self._channels][:, :, self._channels]
        centred = (self._a == 0) | (self._b == 0)
        a, b = sums[self._a[centred]], sums[self._b[centred]]
        b = torch.where(self._mirrored[centred, None], b, b.conj())
        cross[centred] -= a[:, :, None] * b[:, None, :] / self._n_samples
        squares = torch.linalg.vector_norm(cross, dim=(1, 2)).square() - self._own_terms
        estimates = squares / self._probability.to(squares.device)
        off, off_error = float(estimates.mean()), float(estimates.std(correction=0)) / math.sqrt(len(estimates))
        own = torch.linalg.vector_norm(scatter, dim=(1, 2)).square() - self._own_terms_on_diagonal
        on = float((own * self._weights).sum())
        return Gap(0.0 if on < 0 else on, 0.0 if off < 0 else off, off_error)  # an overflow stays one


def _drawn_pairs(grid: FrequencyGrid, energy: Tensor, n_pairs: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw pairs of unlike frequencies of the full plane; return both coordinates and the probability of each pair."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor(grid.sizes)
    coordinates = grid.positions()
    # With a floor, for a frequency that the first batch lacks may come later.
    energy = (energy / energy.max()).nan_to_num(1.0)  # no energy at all, or an overflow that is an error later on
    share = 0.9 * energy / energy.sum() + 0.1 / len(energy)
    share = share / share.sum()
    step = torch.minimum(coordinates, sizes - coordinates).square().sum(dim=1).double()
    near = torch.where(step > 0, 1 / step.clamp_min(1), 0.0)
    near = near / near.sum()
    # Evenly spaced quantiles instead of independent draws: every part of the plane gets its due.
    quantiles = (torch.arange(n_pairs) + torch.rand(1, generator=generator)) / n_pairs
    first = torch.searchsorted(share.cumsum(0), quantiles.to(share.dtype)).clamp_max(len(share) - 1)
    other = torch.multinomial(share, n_pairs, replacement=True, generator=generator)
    while bool((same := other == first).any()):
        other[same] = torch.multinomial(share, int(same.sum()), replacement=True, generator=generator)
    anywhere = coordinates[other]
    offset = coordinates[torch.multinomial(near, n_pairs, replacement=True, generator=generator)]
    beside = (coordinates[first] + offset) % sizes
    halves = torch.rand(n_pairs, 1, generator=generator) < 0.5
    second = torch.where(halves, anywhere, beside)
    by_energy = share[ravel(second, grid.sizes)] / (1 - share[first])
    by_distance = near[ravel((second - coordinates[first]) % sizes, grid.sizes)]
    return coordinates[first], second, share[first] * (by_energy + by_distance) / 2


def share_off(on_diagonal: float, off_diagonal: float) -> float:
    """Return the share of the energy off the diagonal blocks, in [0, 1]; 0 where there is no energy at all."""
    total = on_diagonal + off_diagonal
    return off_diagonal / total if total > 0 else 0.0


def _power(spectra: Tensor) -> Tensor:
    """Return the squared length of each sample at each frequency, (n_kept, n_samples), float64."""
    return torch.view_as_real(spectra).double().square().sum(dim=(2, 3))  # float32 squares under- and overflow
