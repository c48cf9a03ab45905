"""Moments of maps, a matrix for each spatial frequency: one pass over the batches, many layers at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from svcca.core.coherence import Side
from svcca.core.scatter import slices
from svcca.fourier.frequencies import FrequencyGrid, Matching, Resize, match_frequencies
from svcca.fourier.gap import N_CHANNELS, N_PAIRS, Gap, GapSums

SPECTRUM_BYTES = 10 * 2**20
"""Bytes that the spectra of all layers may take at a time, or a tenth of the sums; sets how many samples are folded."""
SLAB_BYTES = 4 * 2**20
"""Bytes of the frequencies that are multiplied together: few enough to stay near the cores."""


@dataclass(frozen=True, eq=False)
class SpectralMoments:
    """Moments of one layer of maps.

    Attributes:
        n_samples: Number of samples seen.
        mean: Mean of each channel over samples and positions, (n_channels,), float64.
        scatter: X_k^H X_k at each kept frequency k, (n_kept, n_channels, n_channels), complex128. The DFT is
            orthonormal, so that the traces, counted with the grid's weights, add up to those of the flattened map.
        grid: The frequencies.
        gap: Energy of the covariance within frequencies and between them.
    """

    n_samples: int
    mean: Tensor
    scatter: Tensor
    grid: FrequencyGrid
    gap: Gap


@dataclass(frozen=True, eq=False)
class _Group:
    """Layers of one map size: their spectra lie side by side, (n_kept, n_samples, n_channels)."""

    grid: FrequencyGrid
    layers: list[int]
    channels: list[slice]
    left: slice
    right: slice
    sums: Tensor

    def block(self, layer: int) -> slice:
        """Return the channels of a layer."""
        return self.channels[self.layers.index(layer)]


class SpectralSums:
    """Running sums of X_k^H X_k of every layer and X_k^H Y_l of every pair of layers, k and l as they match.

    Maps are transformed in their own precision (float32 for half precision) after a constant of each channel has been
    taken off, and summed in complex128. The sums hold conj(X^H Y), so that only one factor of a product is conjugated.

    Args:
        layers: The first batch of each layer, (n_samples, n_channels, *sizes), row layers first.
        n_left: Number of row layers among them.
        self_comparison: Whether the columns are the rows.
        resize: Treatment of sizes that do not divide, as in `match_frequencies`.
        n_pairs: Number of pairs of frequencies to sample off the diagonal blocks.
        gap_channels: Number of channels to look at there; None: all.
        seed: Seed of that sample.
        cross_only: Whether to sum the products of row layers with column layers alone; there are no `moments` then.

    Raises:
        InputError: If the frequencies of two maps do not match.
    """

    def __init__(
        self,
        layers: Sequence[Tensor],
        n_left: int,
        *,
        self_comparison: bool,
        resize: Resize | None = None,
        n_pairs: int = N_PAIRS,
        gap_channels: int | None = N_CHANNELS,
        seed: int = 0,
        cross_only: bool = False,
    ) -> None:
        self.n_samples = 0
        self._cross_only = cross_only
        self._device = layers[0].device
        self._self_comparison = self_comparison
        self._origins = [_origin(layer) for layer in layers]
        self._groups = self._grouped(layers, n_left)
        self._scatters: dict[int, Tensor] = {}
        self._gaps: dict[int, GapSums] = {}
        self._gap_options = (n_pairs, gap_channels, seed)
        self._matchings: dict[tuple[int, int], Matching] = {}
        self._cross: dict[tuple[int, int], Tensor] = {}
        self._centred: set[tuple[int, int]] = set()
        for (i, g), (j, h) in product(enumerate(self._groups), repeat=2):
            if (self_comparison and j < i) or not g.left.stop - g.left.start or not h.right.stop - h.right.start:
                continue
            self._matchings[i, j] = match_frequencies(g.grid.sizes, h.grid.sizes, resize, "maps")
        self._allocated = False

    def _grouped(self, layers: Sequence[Tensor], n_left: int) -> list[_Group]:
        sizes = [tuple(layer.shape[2:]) for layer in layers]
        groups = []
        for size in dict.fromkeys(sizes):
            members = [index for index, other in enumerate(sizes) if other == size]
            channels = slices([layers[index].shape[1] for index in members])
            total = channels[-1].stop
            middle = sum(layers[index].shape[1] for index in members if index < n_left)
            right = slice(0, total) if self._self_comparison else slice(middle, total)
            grid = FrequencyGrid.of(size)
            groups.append(_Group(grid, members, channels, slice(0, middle), right, self._zeros(grid, total)))
        return groups

    def _zeros(self, grid: FrequencyGrid, *shape: int) -> Tensor:
        return torch.zeros(grid.n_kept, *shape, dtype=torch.complex128, device=self._device)

    def n_bytes(self) -> int:
        """Return the bytes that the sums take."""
        values = 0
        for group in self._groups:
            values += group.grid.n_kept * sum((block.stop - block.start) ** 2 for block in group.channels)
        for (i, j), matching in self._matchings.items():
            left, right = self._groups[i].left, self._groups[j].right
            values += len(matching.x) * (left.stop - left.start) * (right.stop - right.start)
        return 16 * values

    def _allocate(self) -> None:
        for (i, j), matching in self._matchings.items():
            shape = (self._groups[i].left.stop, self._groups[j].right.stop - self._groups[j].right.start)
            self._cross[i, j] = torch.zeros(len(matching.x), *shape, dtype=torch.complex128, device=self._device)
        for i, group in enumerate([] if self._cross_only else self._groups):
            for layer, block in zip(group.layers, group.channels, strict=True):
                if self._self_comparison:
                    self._scatters[layer] = self._cross[i, i][:, block, block]
                else:
                    width = block.stop - block.start
                    self._scatters[layer] = self._zeros(group.grid, width, width)
        self._allocated = True

    def update(self, layers: Sequence[Tensor]) -> None:
        """Fold one batch of every layer, a few samples at a time."""
        if not self._allocated:
            self._allocate()
        per_sample = sum(group.grid.n_kept * group.channels[-1].stop for group in self._groups)
        budget = max(SPECTRUM_BYTES, self.n_bytes() // 10)
        step = max(1, budget // (per_sample * 2 * max(_working(layer).itemsize for layer in layers)))
        for start in range(0, layers[0].shape[0], step):
            self._fold([layer[start : start + step] for layer in layers])

    def _fold(self, layers: Sequence[Tensor]) -> None:
        spectra = [self._spectra(group, layers) for group in self._groups]
        self.n_samples += layers[0].shape[0]
        for i, (group, joint) in enumerate(zip(self._groups, spectra, strict=True)):
            self._add_gaps(group, joint)
            for slab in _slabs(joint):
                values = joint[slab].to(torch.complex128)
                group.sums[slab] += values.sum(dim=1)
                self._add_own(i, group, slab, values)
        for (i, j), matching in self._matchings.items():
            if i != j:
                self._add_cross(i, j, matching, spectra)

    def _spectra(self, group: _Group, layers: Sequence[Tensor]) -> Tensor:
        n_samples = layers[0].shape[0]
        dtype = max((_working(layers[index]) for index in group.layers), key=lambda dtype: dtype.itemsize)
        out = torch.empty(
            group.grid.n_kept, n_samples, group.channels[-1].stop, dtype=dtype.to_complex(), device=self._device
        )
        for index, block in zip(group.layers, group.channels, strict=True):
            spectrum(layers[index], self._origins[index], group.grid, out[:, :, block])
        return out

    def _add_gaps(self, group: _Group, joint: Tensor) -> None:
        """Add the products of a few frequencies that do not match."""
        if group.grid.n_positions == 1 or self._cross_only:
            return
        for layer, block in zip(group.layers, group.channels, strict=True):
            if layer not in self._gaps:
                self._gaps[layer] = GapSums(joint[:, :, block], group.grid, *self._gap_options)
            self._gaps[layer].update(joint[:, :, block])

    def _add_own(self, i: int, group: _Group, slab: slice, values: Tensor) -> None:
        """Add the products among layers of one size: of every layer with itself, and of rows with columns."""
        conjugate = torch.conj_physical(values)
        if not self._self_comparison and not self._cross_only:
            for layer, block in zip(group.layers, group.channels, strict=True):
                self._scatters[layer][slab].baddbmm_(values[:, :, block].mT, conjugate[:, :, block])
        if (i, i) in self._cross:
            self._cross[i, i][slab].baddbmm_(values[:, :, group.left].mT, conjugate[:, :, group.right])

    def _add_cross(self, i: int, j: int, matching: Matching, spectra: Sequence[Tensor]) -> None:
        """Add the products of layers of two sizes, at the frequencies that match."""
        left, right = spectra[i][:, :, self._groups[i].left], spectra[j][:, :, self._groups[j].right]
        cross = self._cross[i, j]
        per_pair = left[0].numel() + right[0].numel()
        step = max(1, SLAB_BYTES // (16 * per_pair))
        for start in range(0, len(matching.x), step):
            slab = slice(start, start + step)
            x, y, mirrored = (each[slab].to(self._device) for each in (matching.x, matching.y, matching.y_mirrored))
            values = right[y].to(torch.complex128)
            # conj of what stands at the negated frequency, itself a conjugate, is the value as it is kept.
            conjugate = torch.where(mirrored[:, None, None], values, values.conj())
            cross[slab].baddbmm_(left[x].to(torch.complex128).mT, conjugate)

    def moments(self, layer: int) -> SpectralMoments:
        """Return the moments of a layer; the scatter's memory is handed over, so ask once, and before `cross`."""
        group = next(group for group in self._groups if layer in group.layers)
        block = group.block(layer)
        scatter, sums = self._scatters.pop(layer), group.sums[:, block]
        # In place, but where one network is compared with itself: there the scatter is part of the cross products.
        scatter = torch.conj_physical(scatter) if self._self_comparison else scatter.conj_physical_()
        scatter[0] -= torch.outer(sums[0].conj(), sums[0]) / self.n_samples
        mean = self._origins[layer].double() + sums[0].real / (self.n_samples * math.sqrt(group.grid.n_positions))
        gap = self._gaps.get(layer)
        found = gap.gap(scatter, sums) if gap else Gap(1.0, 0.0, 0.0)
        return SpectralMoments(self.n_samples, mean, scatter, group.grid, found)

    def cross(self, left: int, right: int) -> tuple[Matching, Tensor]:
        """Return the matching frequencies of a row and a column layer, and X^H Y at each pair of them, a view."""
        i, j = (next(k for k, group in enumerate(self._groups) if layer in group.layers) for layer in (left, right))
        if (i, j) not in self._cross:  # one network against itself, below the diagonal
            return transposed(*self.cross(right, left))
        self._centre(i, j)
        rows, columns = self._groups[i].block(left), self._groups[j].block(right)
        shift = self._groups[j].right.start
        return self._matchings[i, j], self._cross[i, j][:, rows, columns.start - shift : columns.stop - shift].conj()

    def _centre(self, i: int, j: int) -> None:
        """Subtract the means from the products that involve a zero frequency; done once."""
        if (i, j) in self._centred:
            return
        self._centred.add((i, j))
        matching, x_group, y_group = self._matchings[i, j], self._groups[i], self._groups[j]
        index = ((matching.x == 0) | (matching.y == 0)).nonzero().squeeze(1)
        x_sums = x_group.sums[matching.x[index].to(self._device)][:, x_group.left]
        y_sums = y_group.sums[matching.y[index].to(self._device)][:, y_group.right]
        # Zero is its own negative, and of one frequency beside another's zero the one is never written negated.
        self._cross[i, j][index.to(self._device)] -= x_sums[:, :, None] * y_sums.conj()[:, None, :] / self.n_samples


def spectrum(maps: Tensor, origin: Tensor, grid: FrequencyGrid, out: Tensor) -> None:
    """Write the orthonormal DFT of each channel less its origin to `out`: (n, c, *sizes) -> (n_kept, n, c)."""
    shifted = maps.to(origin.dtype) - origin.reshape(1, -1, *(1 for _ in grid.sizes))
    if not grid.sizes:
        out[0].copy_(shifted)
        return
    half = torch.fft.rfftn(shifted, dim=tuple(range(2, maps.ndim)), norm="ortho").flatten(2).permute(2, 0, 1)
    # What is kept lies in runs: slices of them copy faster than an index gathers.
    edges = (torch.diff(grid.half) != 1).nonzero().squeeze(1) + 1
    for run in slices(
        torch.diff(edges, prepend=edges.new_zeros(1), append=edges.new_tensor([len(grid.half)])).tolist()
    ):
        first = int(grid.half[run.start])
        out[run].copy_(half[first : first + run.stop - run.start])


def transposed(matching: Matching, cross: Tensor) -> tuple[Matching, Tensor]:
    """Return the same pairs seen from the other side."""
    # Pairs are written with x as it is kept: where y is mirrored, both sides are negated.
    flipped = matching.y_mirrored.to(cross.device)[:, None, None]
    turned = torch.where(flipped, cross.conj(), cross).mH if bool(flipped.any()) else cross.mH
    mirrored = matching.mirrored ^ matching.y_mirrored[matching.members]
    stacked: Side = "y" if matching.stacked == "x" else "x"
    swapped = replace(matching, x=matching.y, y=matching.x, mirrored=mirrored, stacked=stacked)
    return swapped, turned


def _working(maps: Tensor) -> torch.dtype:
    return torch.float64 if maps.dtype == torch.float64 else torch.float32


def _origin(maps: Tensor) -> Tensor:
    """Return about the mean of each channel; without it a large mean would cost every frequency digits."""
    some = maps[:16].to(_working(maps))
    first = some[:1].flatten(2)[:, :, 0] if some.ndim > 2 else some[:1]
    axes = [axis for axis in range(some.ndim) if axis != 1]
    # Relative to one value, so that a constant channel is exactly zero.
    shifted = some - first.reshape(1, -1, *(1 for _ in some.shape[2:]))
    return first[0] + shifted.mean(dim=axes)


def _slabs(spectra: Tensor) -> list[slice]:
    """Return runs of frequencies whose values in complex128 fit the slab."""
    step = max(1, SLAB_BYTES // (16 * max(1, spectra[0].numel())))
    return [slice(start, start + step) for start in range(0, spectra.shape[0], step)]
