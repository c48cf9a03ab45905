"""SVCCA of two convolutional layers by the DFT, as one call: correlations, frequency map, filters, translation gap."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, check_same_samples, to_maps, to_numpy
from svcca.core.coherence import Side
from svcca.core.subspace import WHOLE, SVDStep
from svcca.errors import Doubt, InputError, message, unknown_option
from svcca.fourier.coherence import FourierCoherence
from svcca.fourier.frequencies import RESIZE, FrequencyGrid, Resize, match_frequencies
from svcca.fourier.grid import FourierAccumulator
from svcca.fourier.translation import gap_warnings
from svcca.measures.cca import SVCCA
from svcca.measures.evaluate import evaluate
from svcca.measures.measure import Measure
from svcca.measures.registry import by_frequency
from svcca.measures.similarity import Similarity, announced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Filters:
    """Canonical directions of one side as spatial filters.

    Attributes:
        filters: Filters, (n, n_channels, *sizes), real: the inner product with a map, less the mean of each channel, is
            a variate of unit variance over all shifts of the inputs. The largest entry of x's filter is positive.
        correlations: Canonical correlation of each, (n,), largest first.
        frequencies: Spatial frequency of each in cycles over the smaller map, (n, n_axes), signed.
    """

    filters: npt.NDArray[np.float64]
    correlations: npt.NDArray[np.float64]
    frequencies: npt.NDArray[np.int64]

    def plot(self) -> tuple[Figure, npt.NDArray[Any]]:
        """Draw the strongest channel of each filter of two-dimensional maps; return the figure and its axes.

        Raises:
            InputError: If the maps have other than two spatial axes.
        """
        from svcca.plots.filters import plot_filters

        return plot_filters({"": self.filters}, self.correlations, self.frequencies)


@dataclass(frozen=True, eq=False)
class FourierCCAResult(Similarity):
    """Canonical correlations of two layers of maps over all spatial frequencies; `similarity` is their mean.

    Attributes:
        correlations: Of the flattened maps, (r,), float64, largest first, in [0, 1].
        x_translation_gap: Share of the energy of x's covariance between different frequencies, which the Fourier way
            takes to be zero; in [0, 1].
        y_translation_gap: That share of y's covariance.
        step: The SVD step that was taken, over all frequencies together.
    """

    correlations: npt.NDArray[np.float64]
    x_translation_gap: float
    y_translation_gap: float
    step: SVDStep
    _whole: FourierCoherence = field(repr=False)

    @cached_property
    def _coherence(self) -> FourierCoherence:
        return self._whole.truncate(self.step)

    @property
    def frequency_map(self) -> np.ma.MaskedArray[tuple[int, ...], np.dtype[np.float64]]:
        """Mean correlation at each spatial frequency of the smaller map, zero frequency first along every axis.

        Masked where one of the layers keeps no direction.
        """
        coherence = self._coherence
        counts = coherence.counts
        means = coherence.block_correlations.sum(dim=1) / counts.clamp_min(1)
        grid = FrequencyGrid.of(coherence.matching.sizes)
        return np.ma.MaskedArray(to_numpy(grid.plane(means)), mask=to_numpy(grid.plane(counts == 0)))

    def evaluate(self, measure: str | Measure) -> Similarity:
        """Evaluate another measure, or one by its name, from the same decomposition.

        PWCCA weighs by the DFT of each channel in place of its positions.

        Raises:
            UnknownOptionError: If there is no such measure, or it is not defined by frequency.
        """
        return evaluate(by_frequency(measure), self._whole, self.step)

    @property
    def covariances(self) -> npt.NDArray[np.float64]:
        """Singular values of the cross-covariance of the flattened maps (PLS), (r,), largest first."""
        values = self._coherence.cross_singular_values.sort(descending=True).values
        return to_numpy(values) / (self.n_samples - 1)

    def x_filters(self, n_filters: int = 9) -> Filters:
        """Return the canonical directions of x of the largest correlations as spatial filters.

        Args:
            n_filters: Number of filters; a frequency and its negative, which give one pattern shifted, count once.

        Raises:
            InputError: If the number is not a positive integer.
        """
        return _filters(self._coherence, "x", n_filters)

    def y_filters(self, n_filters: int = 9) -> Filters:
        """Return the same for y, with signs and phases that make each correlate with the filter of x."""
        return _filters(self._coherence, "y", n_filters)

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw the mean correlation at each spatial frequency; return the figure and its axes.

        Args:
            ax: Where to draw; by default a new figure.

        Raises:
            InputError: If the maps have three or more spatial axes, or one side is a vector.
        """
        from svcca.plots.frequency_map import plot_frequency_map

        return plot_frequency_map(self.frequency_map, similarity=self.similarity, chance=self.chance, ax=ax)

    def plot_filters(self, n_filters: int = 6) -> tuple[Figure, npt.NDArray[Any]]:
        """Draw canonical directions of two-dimensional maps in pairs, x above y; return the figure and its axes.

        Args:
            n_filters: How many pairs, those of the largest correlations.

        Raises:
            InputError: If the maps of a side have other than two spatial axes.
        """
        from svcca.plots.filters import plot_filters

        x, y = self.x_filters(n_filters), self.y_filters(n_filters)
        return plot_filters({"x": x.filters, "y": y.filters}, x.correlations, x.frequencies)


def fourier_cca(
    x: ArrayLike,
    y: ArrayLike,
    *,
    retained_variance: float = 0.99,
    n_components: int | None = None,
    resize: Resize | None = None,
    channels_last: bool = False,
) -> FourierCCAResult:
    """Compute SVCCA of two convolutional layers as if every map were flattened and the inputs shifted in every way.

    For translation equivariant layers with circular boundaries over inputs closed under cyclic shifts the DFT makes the
    covariance block diagonal, a block for each spatial frequency. The moments of the inputs as they are already are
    those of all their shifts. Only the zero frequency is centred; the SVD step is taken over all frequencies together.

    Args:
        x: Maps (n_samples, n_channels, *sizes) of one, two, three or more spatial axes, real; or vectors
            (n_samples, n_features), which correlate with the zero frequency of the other side alone.
        y: Maps or vectors over the same samples; sizes may be a whole multiple of the other's (exact: the frequencies
            of the larger map that meet at one of the smaller form one block).
        retained_variance: Share of each layer's variance to keep, over all frequencies. Default 0.99.
        n_components: Number of directions to keep of each layer instead.
        resize: Approximation for other sizes: "crop" (the frequencies that both have), or "interpolate" (the smaller
            map is resized, bilinear). None (default) refuses them.
        channels_last: Whether maps are (n_samples, *sizes, n_channels). Default False.

    Returns:
        Correlations of the flattened maps with ranks, chance level, warnings, translation gaps, filters.

    Raises:
        InputError: If one of the arrays is not one of real maps, both are vectors, or their sizes do not fit.
        NonFiniteError: If one holds NaN or infinity.
        RankError: If one is constant.
        SampleError: If there are fewer than two samples, or the arrays differ in their number.

    Cost:
        The DFT, 4 n c_x^2 + 4 n c_y^2 + 4 n c_x c_y operations a position, and eigendecompositions and SVDs of channels
        by channels for half the positions. Memory: these matrices in complex128, and 24 MiB.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 3 and appendix C.

    >>> import numpy as np
    >>> maps = np.random.default_rng(0).normal(size=(200, 3, 8, 8))
    >>> result = fourier_cca(maps, np.roll(maps, 2, axis=3) @ np.eye(8))
    >>> round(result.similarity, 6), result.x_rank
    (1.0, 190)
    """
    step = SVDStep(retained_variance, n_components)
    maps_x, maps_y = to_maps(x, "fourier_cca x", channels_last), to_maps(y, "fourier_cca y", channels_last)
    check_same_samples(maps_x, maps_y, "fourier_cca")
    if maps_x.ndim == maps_y.ndim == 2:
        got, remedy = "two arrays (n_samples, n_features)", "Use svcca.svcca(x, y)"
        raise InputError(message("fourier_cca", "maps (n_samples, n_channels, *sizes)", got, "", remedy))
    if resize is not None and resize not in RESIZE:
        raise unknown_option("fourier_cca", "resize", resize, RESIZE)
    if resize != "interpolate":
        match_frequencies(tuple(maps_x.shape[2:]), tuple(maps_y.shape[2:]), resize, "fourier_cca x and y")
    whole = _coherence_of(maps_x, maps_y.to(maps_x.device), resize)
    cut = whole.truncate(step)
    found = evaluate(SVCCA(), cut, WHOLE)
    gaps = (whole.x.gap, whole.y.gap)
    far = [Doubt("translation", text) for side, gap in zip("xy", gaps, strict=True) for text in gap_warnings(side, gap)]
    result = FourierCCAResult(
        **vars(found) | {"warnings": (*found.warnings, *far)},
        correlations=to_numpy(cut.correlations),
        x_translation_gap=gaps[0].share,
        y_translation_gap=gaps[1].share,
        step=step,
        _whole=whole,
    )
    return announced(result)


def _coherence_of(x: Tensor, y: Tensor, resize: Resize | None) -> FourierCoherence:
    accumulator = FourierAccumulator(resize=resize)
    accumulator.update([x], [y])
    return accumulator.finish(["fourier_cca x", "fourier_cca y"], WHOLE, constant_allowed=[False, False]).pair(0, 0)


def _filters(coherence: FourierCoherence, side: Side, n_filters: int) -> Filters:
    """Draw the leading canonical directions of a side as waves."""
    if not isinstance(n_filters, int) or n_filters < 1:
        raise InputError(message("filters", "n_filters as a positive integer", repr(n_filters)))
    rho = coherence.factors.s
    counted = torch.arange(rho.shape[1], device=rho.device) < coherence.counts[:, None]
    order = torch.where(counted, rho, -1.0).flatten().argsort(descending=True)
    order = order[: min(n_filters, int(counted.sum()))].cpu()
    blocks, pairs = order // rho.shape[1], order % rho.shape[1]
    waves = {one: _waves(coherence, one, blocks, pairs) for one in ("x", side)}
    weights = coherence.matching.weights[blocks]
    degrees = torch.where(blocks == 0, coherence.n_samples - 1, coherence.n_samples)
    # The real part of a wave carries half the variance over all shifts; one of a frequency without twin is real.
    scale = (degrees * weights).double().sqrt()
    real = torch.real(waves[side] * _phases(waves["x"], weights)[:, None, None]) * scale[:, None, None]
    layer = coherence.x if side == "x" else coherence.y
    sizes = torch.tensor(coherence.matching.sizes, dtype=torch.int64)
    frequencies = FrequencyGrid.of(coherence.matching.sizes).coordinates[blocks]
    signed = torch.where(2 * frequencies > sizes, frequencies - sizes, frequencies)
    return Filters(
        to_numpy(real.reshape(*real.shape[:2], *layer.grid.sizes)), to_numpy(rho.flatten()[order]), to_numpy(signed)
    )


def _waves(coherence: FourierCoherence, side: Side, blocks: Tensor, pairs: Tensor) -> Tensor:
    """Return complex waves f with sum(f * map) the canonical variate, (n, n_channels, n_positions)."""
    layer = coherence.x if side == "x" else coherence.y
    index, mirrored = (each[blocks].cpu() for each in coherence.frequencies(side))
    whitener = layer.whitener(index.to(layer.values.device)).cpu()
    whitener = torch.where(mirrored[:, :, None, None], whitener.conj(), whitener)
    rotation = coherence.variate_directions(side).cpu()[blocks, :, :, pairs]
    directions = (whitener @ rotation[..., None]).squeeze(-1)
    grid = layer.grid
    positions = grid.positions().double()
    cycles = grid.coordinates[index].double() / torch.tensor(grid.sizes, dtype=torch.float64)
    turns = torch.where(mirrored[..., None], -cycles, cycles) @ positions.mT
    waves = torch.polar(torch.ones_like(turns), -2 * math.pi * turns) / math.sqrt(grid.n_positions)
    return directions.mT @ waves


def _phases(waves: Tensor, weights: Tensor) -> Tensor:
    """Return unit factors that make each wave's largest entry real and positive, and one without twin wholly real."""
    flat = waves.flatten(1)
    pivot = flat.gather(1, flat.abs().argmax(dim=1, keepdim=True)).squeeze(1)
    halved = torch.polar(torch.ones(len(flat), dtype=torch.float64), -flat.square().sum(dim=1).angle() / 2)
    halved = halved * torch.where(torch.real(pivot * halved) < 0, -1.0, 1.0)
    return torch.where(weights == 1, halved, torch.sgn(pivot).conj())
