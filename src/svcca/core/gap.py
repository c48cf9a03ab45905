"""How far maps are from what the DFT assumes: covariance between different spatial frequencies."""

from __future__ import annotations

import torch
from torch import Tensor

from svcca.core.frequencies import FrequencyGrid

N_PAIRS = 64
"""Pairs of frequencies that a pass samples: the share is then known to about a tenth of itself."""


class GapSums:
    """Covariance of a seeded sample of frequency pairs, summed batch by batch.

    A pair (k, l) of the full plane is drawn with probability p_kl in proportion to the product of the energies of the
    two in the first batch, so that the sum over all pairs of |C_kl|^2 is estimated by the mean of |C_kl|^2 / p_kl with
    little spread. From each |C_kl|^2 that part is taken off which finitely many independent samples would give
    unrelated frequencies: the terms of a sample with itself.

    Args:
        spectra: DFT of the first batch of the layer, (n_frequencies, n_samples, n_channels).
        grid: Its frequencies.
        n_pairs: How many pairs to draw.
        seed: Of the draw.
    """

    def __init__(self, spectra: Tensor, grid: FrequencyGrid, n_pairs: int = N_PAIRS, seed: int = 0) -> None:
        energy = _power(spectra).mean(dim=1)
        energy[0] = _power(spectra[:1] - spectra[:1].mean(dim=1, keepdim=True)).mean()
        plane = grid.plane(energy).flatten().cpu()
        share = plane / plane.sum() if plane.sum() > 0 else torch.full_like(plane, 1 / len(plane))
        # With a floor, for a frequency that the first batch lacks may come later.
        share = 0.9 * share + 0.1 / len(share)
        generator = torch.Generator().manual_seed(seed)
        first = torch.multinomial(share, n_pairs, replacement=True, generator=generator)
        # The second is drawn from the others, so p_kl = p_k p_l / (1 - p_k).
        others = share.expand(n_pairs, -1).clone()
        others[torch.arange(n_pairs), first] = 0.0
        second = torch.multinomial(others, 1, generator=generator).squeeze(1)
        self._probability = share[first] * share[second] / (1 - share[first])
        coordinates = torch.stack(torch.unravel_index(torch.arange(len(share)), grid.sizes), dim=1)
        device = spectra.device
        (a, a_mirrored), (b, b_mirrored) = (grid.locate(coordinates[index]) for index in (first, second))
        self._a, self._b, self._mirrored = a.to(device), b.to(device), (a_mirrored ^ b_mirrored).to(device)
        width = spectra.shape[2]
        self._n_samples = 0
        self._cross = torch.zeros(n_pairs, width, width, dtype=torch.complex128, device=device)
        self._own_terms = torch.zeros(n_pairs, dtype=torch.float64, device=device)
        self._own_terms_on_diagonal = torch.zeros(grid.n_frequencies, dtype=torch.float64, device=device)
        self._weights = grid.weights.to(device)

    def update(self, spectra: Tensor) -> None:
        """Add a batch's DFT, (n_frequencies, n_samples, n_channels)."""
        power = _power(spectra)
        self._n_samples += spectra.shape[1]
        self._own_terms += (power[self._a] * power[self._b]).sum(dim=1)
        self._own_terms_on_diagonal += power.square().sum(dim=1)
        a, b = (spectra[index].to(torch.complex128) for index in (self._a, self._b))
        # conj(A^H B), as in the sums of a spectrum.
        self._cross.baddbmm_(a.mT, torch.where(self._mirrored[:, None, None], b, b.conj()))

    def energies(self, scatter: Tensor, sums: Tensor) -> tuple[float, float]:
        """Energy of the covariance on and off the diagonal blocks, each up to the same factor, never negative.

        Args:
            scatter: X_k^H X_k at each frequency, centred at zero.
            sums: Sum over samples of the spectra, (n_frequencies, n_channels).
        """
        cross = self._cross.clone()
        centred = (self._a == 0) | (self._b == 0)
        a, b = sums[self._a[centred]], sums[self._b[centred]]
        b = torch.where(self._mirrored[centred, None], b, b.conj())
        cross[centred] -= a[:, :, None] * b[:, None, :] / self._n_samples
        squares = torch.linalg.vector_norm(cross, dim=(1, 2)).square() - self._own_terms
        off = float((squares / self._probability.to(squares.device)).mean())
        own = torch.linalg.vector_norm(scatter, dim=(1, 2)).square() - self._own_terms_on_diagonal
        return max(0.0, float((own * self._weights).sum())), max(0.0, off)


def share_off(on_diagonal: float, off_diagonal: float) -> float:
    """Share of the energy off the diagonal blocks, in [0, 1]; 0 where there is none at all."""
    total = on_diagonal + off_diagonal
    return off_diagonal / total if total > 0 else 0.0


def _power(spectra: Tensor) -> Tensor:
    """Squared length of each sample at each frequency, (n_frequencies, n_samples), float64."""
    return torch.view_as_real(spectra).double().square().sum(dim=(2, 3))
