"""Spatial frequencies of real maps: the half plane that holds them all, aliases, and which match between two sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from svcca.core.coherence import Side
from svcca.errors import InputError, message, unknown_option

Resize = Literal["crop", "interpolate"]
"""Approximation for maps whose sizes do not divide each other."""
RESIZE = ("crop", "interpolate")


@dataclass(frozen=True, eq=False)
class FrequencyGrid:
    """Frequencies of maps of one size.

    The DFT of a real map at -k is the conjugate of that at k, so one frequency of the two is kept.

    Attributes:
        sizes: Spatial sizes; empty for vectors, which have the zero frequency only.
        coordinates: The kept frequencies, (n_kept, n_axes), each from 0 to size - 1; zero first.
        weights: Number of frequencies that each stands for, 1 or 2, (n_kept,).
        half: Their places in the flattened output of `rfftn`, ascending, (n_kept,).
    """

    sizes: tuple[int, ...]
    coordinates: Tensor
    weights: Tensor
    half: Tensor
    _kept: Tensor
    _mirrored: Tensor

    @classmethod
    def of(cls, sizes: tuple[int, ...]) -> FrequencyGrid:
        """Return the grid for maps of these sizes; the same object for the same sizes."""
        return _grid(tuple(sizes))

    @property
    def n_kept(self) -> int:
        """Number of frequencies kept of k and -k."""
        return self.weights.shape[0]

    @property
    def n_positions(self) -> int:
        """Number of positions of a map, which is also that of all its frequencies."""
        return math.prod(self.sizes)

    def locate(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Return the index of the kept one of k and -k for each frequency (..., n_axes), and whether it is -k."""
        flat = ravel(coordinates % torch.tensor(self.sizes, dtype=torch.int64), self.sizes)
        return self._kept[flat], self._mirrored[flat]

    def plane(self, values: Tensor) -> Tensor:
        """Spread values of the kept frequencies over all frequencies: (n_kept, ...) -> (*sizes, ...)."""
        return values[self._kept.to(values.device)].reshape((*self.sizes, *values.shape[1:]))

    def positions(self) -> Tensor:
        """Return the coordinates of all positions of a map, or of all its frequencies, (n_positions, n_axes)."""
        if not self.sizes:
            return torch.zeros(1, 0, dtype=torch.int64)
        return torch.stack(torch.unravel_index(torch.arange(self.n_positions), self.sizes), dim=1)


@lru_cache(maxsize=64)
def _grid(sizes: tuple[int, ...]) -> FrequencyGrid:
    if not sizes:
        zero, one = torch.zeros(1, dtype=torch.int64), torch.ones(1, dtype=torch.int64)
        return FrequencyGrid((), zero.new_zeros(1, 0), one, zero, zero, zero.bool())
    coordinates = torch.cartesian_prod(*(torch.arange(size) for size in sizes)).reshape(-1, len(sizes))
    own = torch.arange(len(coordinates))
    twin = ravel(-coordinates % torch.tensor(sizes), sizes)
    half = sizes[-1] // 2 + 1
    stored = coordinates[:, -1] < half
    # Of k and -k the one that rfftn gives; of two that it gives, as along the zero column, the first.
    chosen = torch.where(stored & (~stored[twin] | (own <= twin)), own, twin)
    kept = (chosen == own).nonzero().squeeze(1)
    number = torch.zeros_like(own)
    number[kept] = torch.arange(len(kept))
    return FrequencyGrid(
        sizes,
        coordinates[kept],
        1 + (twin[kept] != kept).long(),
        ravel(coordinates[kept], (*sizes[:-1], half)),
        number[chosen],
        chosen != own,
    )


def ravel(coordinates: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return the place in the flattened map of each coordinate (..., n_axes)."""
    flat = torch.zeros(coordinates.shape[:-1], dtype=torch.int64)
    for axis, size in enumerate(sizes):
        flat = flat * size + coordinates[..., axis]
    return flat


@dataclass(frozen=True, eq=False)
class Matching:
    """Pairs of frequencies of two map sizes that covary over all shifts of the inputs, and the blocks they form.

    Attributes:
        x: Frequency of x in each pair, an index into its grid, (n_pairs,).
        y: Frequency of y in each pair, (n_pairs,).
        y_mirrored: Whether the pair holds the negative of that frequency of y, (n_pairs,).
        members: Pairs that make up each block, (n_blocks, n_aliases).
        mirrored: Whether a pair counts with both of its frequencies negated, (n_blocks, n_aliases).
        stacked: The side that has several frequencies in a block.
        weights: Number of blocks that each stands for, 1 or 2, (n_blocks,).
        exact: Whether nothing is approximated for equivariant layers.
        sizes: Spatial sizes of the map over which values of the blocks spread.
    """

    x: Tensor
    y: Tensor
    y_mirrored: Tensor
    members: Tensor
    mirrored: Tensor
    stacked: Side
    weights: Tensor
    exact: bool
    sizes: tuple[int, ...]

    @property
    def one_to_one(self) -> bool:
        """Whether each block is one pair, in the same order."""
        return self.n_aliases == 1

    @property
    def n_aliases(self) -> int:
        """Number of frequencies of the larger map that meet at each of the smaller."""
        return self.members.shape[1]


def match_frequencies(
    x_sizes: tuple[int, ...], y_sizes: tuple[int, ...], resize: Resize | None, where: str
) -> Matching:
    """Pair the frequencies of two layers.

    Maps of one size pair frequency by frequency. Where one is r times the other, frequency k of the smaller covaries
    with each alias k' = k (mod its size) of the larger. A vector (or a map of one position) covaries with the zero
    frequency alone.

    Args:
        x_sizes: Spatial sizes of x; empty for a vector.
        y_sizes: Spatial sizes of y.
        resize: Treatment of sizes where neither divides the other: None refuses them, "crop" pairs the frequencies
            that both have. Named "crop", it crops where there would be aliases too, as the papers' code does.
        where: The name of the pair in an error.

    Raises:
        InputError: If the maps have unequal numbers of axes, or sizes that do not divide while `resize` is not "crop".
        UnknownOptionError: If there is no such `resize`.
    """
    if resize is not None and resize not in RESIZE:
        raise unknown_option(where, "resize", resize, RESIZE)
    if math.prod(x_sizes) == 1 or math.prod(y_sizes) == 1:
        return _zero_frequency(x_sizes, y_sizes)
    if len(x_sizes) != len(y_sizes):
        got = f"{_size(x_sizes)} and {_size(y_sizes)}"
        remedy = "Compare layers of one kind, or observe them by 'pool'"
        raise InputError(message(where, "maps with as many spatial axes on both sides", got, "", remedy))
    if x_sizes == y_sizes:
        return _one_to_one(x_sizes)
    if resize == "crop":
        return _cropped(x_sizes, y_sizes)
    if all(x % y == 0 for x, y in zip(x_sizes, y_sizes, strict=True)):
        return _aliased(x_sizes, y_sizes, "x")
    if all(y % x == 0 for x, y in zip(x_sizes, y_sizes, strict=True)):
        return _aliased(y_sizes, x_sizes, "y")
    raise InputError(
        message(
            where,
            "maps of equal sizes, or one a whole number of times the other",
            f"{_size(x_sizes)} and {_size(y_sizes)}",
            "Frequencies of other sizes do not line up",
            "Name an approximation, resize='crop' (the frequencies both have) or 'interpolate', or take the means",
        )
    )


def _size(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)


def _single(n_pairs: int) -> tuple[Tensor, Tensor]:
    """Return blocks of one pair each, none mirrored."""
    return torch.arange(n_pairs)[:, None], torch.zeros(n_pairs, 1, dtype=torch.bool)


def _one_to_one(sizes: tuple[int, ...]) -> Matching:
    grid = FrequencyGrid.of(sizes)
    index = torch.arange(grid.n_kept)
    members, mirrored = _single(grid.n_kept)
    return Matching(index, index, torch.zeros_like(index).bool(), members, mirrored, "x", grid.weights, True, sizes)


def _zero_frequency(x_sizes: tuple[int, ...], y_sizes: tuple[int, ...]) -> Matching:
    zero = torch.zeros(1, dtype=torch.int64)
    members, mirrored = _single(1)
    return Matching(zero, zero, zero.bool(), members, mirrored, "x", torch.ones_like(zero), True, ())


def _aliased(larger: tuple[int, ...], smaller: tuple[int, ...], stacked: Side) -> Matching:
    large, small = FrequencyGrid.of(larger), FrequencyGrid.of(smaller)
    index = torch.arange(large.n_kept)
    other, other_mirrored = small.locate(large.coordinates)
    ratios = [a // b for a, b in zip(larger, smaller, strict=True)]
    shifts = torch.tensor(list(product(*(range(ratio) for ratio in ratios)))) * torch.tensor(smaller)
    members, mirrored = large.locate(small.coordinates[:, None, :] + shifts)
    if stacked == "x":
        return Matching(index, other, other_mirrored, members, mirrored, "x", small.weights, True, smaller)
    # The pair is written with y as it is kept and x mirrored or not; negating both puts the mark on y.
    return Matching(
        other, index, other_mirrored, members, mirrored ^ other_mirrored[members], "y", small.weights, True, smaller
    )


def _cropped(x_sizes: tuple[int, ...], y_sizes: tuple[int, ...]) -> Matching:
    """Pair frequencies by their signed values; the Nyquist line of an even size, which has no sign, is left out."""
    common = tuple(min(x, y) for x, y in zip(x_sizes, y_sizes, strict=True))
    limits = torch.tensor([(size - 1) // 2 for size in common])
    odd = tuple(int(2 * limit + 1) for limit in limits)
    grid = FrequencyGrid.of(odd)
    signed = torch.where(grid.coordinates > limits, grid.coordinates - torch.tensor(odd), grid.coordinates)
    x, x_mirrored = FrequencyGrid.of(x_sizes).locate(signed)
    y, y_mirrored = FrequencyGrid.of(y_sizes).locate(signed)
    members, mirrored = _single(grid.n_kept)
    return Matching(x, y, x_mirrored ^ y_mirrored, members, mirrored, "x", grid.weights, False, odd)
