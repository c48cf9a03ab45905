"""Covariance of one channel between positions, and between spatial frequencies: what the DFT does to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from svcca.core.arrays import ArrayLike, to_maps, to_numpy
from svcca.errors import InputError, message
from svcca.fourier.translation import TranslationGap, translation_gap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class ChannelCovariances:
    """Magnitude of one channel's covariance without and with the DFT.

    Positions and frequencies are in the order of the flattened map, zero frequency first. The DFT is orthonormal, so
    that both matrices have the same sum of squares.

    Attributes:
        positions: Between positions, (n_positions, n_positions), float64.
        frequencies: Between spatial frequencies, likewise; the nearer to a diagonal, the nearer is the Fourier way to
            the flattened maps.
        gap: Share of the energy off the diagonal blocks of both, over all channels.
    """

    positions: npt.NDArray[np.float64]
    frequencies: npt.NDArray[np.float64]
    gap: TranslationGap

    def plot(self) -> tuple[Figure, npt.NDArray[Any]]:
        """Draw both covariances side by side, with the translation gap; return the figure and its two axes."""
        from svcca.plots.covariances import plot_covariances

        return plot_covariances(
            self.positions,
            self.frequencies,
            share_between_positions=self.gap.before,
            share_between_frequencies=self.gap.after,
        )


def channel_covariances(x: ArrayLike, channel: int = 0, *, channels_last: bool = False) -> ChannelCovariances:
    """Compute one channel's covariance between positions and between spatial frequencies, for a picture of both.

    Args:
        x: Maps (n_samples, n_channels, *sizes), real, of at most some thousand positions.
        channel: The channel.
        channels_last: Whether maps are (n_samples, *sizes, n_channels).

    Returns:
        Both magnitudes, and the translation gap over all channels.

    Raises:
        InputError: If x is not an array of maps of several positions, or has no such channel.

    Cost:
        8 n P^2 operations for P positions and two matrices of P^2 numbers, beside what `translation_gap` costs.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), appendix C and figure App. 2.

    >>> noise = np.random.default_rng(0).normal(size=(2000, 1, 4, 4))
    >>> found = channel_covariances(noise)
    >>> found.positions.shape, bool(found.frequencies.diagonal().min() > 5 * found.frequencies[0, 1])
    ((16, 16), True)
    """
    maps = to_maps(x, "channel_covariances", channels_last)
    if maps.ndim == 2 or maps[0, 0].numel() == 1:
        expected, got = "maps of several positions", f"shape {tuple(maps.shape)}"
        raise InputError(message("channel_covariances", expected, got))
    if not -maps.shape[1] <= channel < maps.shape[1]:
        raise InputError(message("channel_covariances", f"a channel below {maps.shape[1]}", str(channel)))
    one = maps[:, channel].double()
    one = one - one.mean()
    rows = (one.flatten(1), torch.fft.fftn(one, dim=tuple(range(1, one.ndim)), norm="ortho").flatten(1))
    positions, frequencies = (to_numpy((each.mH @ each / (len(each) - 1)).abs()) for each in rows)
    return ChannelCovariances(positions, frequencies, translation_gap(x, channels_last=channels_last))
