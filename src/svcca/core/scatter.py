"""Products over samples, the bulk of the work: centring, scatter matrices, and their running sums over many layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from svcca.core.arrays import accumulator_dtype
from svcca.errors import unknown_option

Precision = Literal["float64", "float32"]
"""Precision of the products over samples, the bulk of the work."""
FLOAT64: Precision = "float64"
CHUNK_VALUES = 2**21
"""Values folded at a time: 16 MiB in float64, enough rows to keep a product busy, few enough to stay near the cores."""
STRIP = 128
"""Rows of a symmetric product computed at a time on a CPU: wide enough for full speed, narrow enough to skip half."""


def check_precision(precision: str) -> None:
    """Raise UnknownOptionError unless the precision is "float64" or "float32"."""
    if precision not in ("float64", "float32"):
        raise unknown_option("precision", "precision", precision, ["float64", "float32"])


def working_dtype(dtype: torch.dtype, precision: Precision) -> torch.dtype:
    """Return the dtype in which products over rows of a dtype are taken.

    Raises:
        UnknownOptionError: If the precision is neither "float64" nor "float32".
    """
    check_precision(precision)
    if precision == "float64":
        return accumulator_dtype(dtype)
    return torch.complex64 if dtype.is_complex else torch.float32


def centre(rows: Tensor, precision: Precision = FLOAT64) -> tuple[Tensor, Tensor]:
    """Return the mean of each feature, as float64, and the centred rows, in a precision; the input is unchanged.

    The mean is summed in that precision too, about the first row: to 1e-7 of the spread in float32.

    Raises:
        UnknownOptionError: If the precision is neither "float64" nor "float32".
    """
    # The first row off first: what is constant becomes exactly zero, and a large mean costs the sums no digit.
    origin = rows[0].to(accumulator_dtype(rows.dtype))
    shifted = torch.empty(rows.shape, dtype=working_dtype(rows.dtype, precision), device=rows.device)
    torch.sub(rows, origin, out=shifted)
    mean = column_mean(shifted)
    return origin + mean, shifted.sub_(mean)


def column_mean(rows: Tensor) -> Tensor:
    """Return the mean of each column, by a product with ones: a strided reduction over rows takes ten times as long."""
    return rows.new_ones(rows.shape[0]) @ rows / rows.shape[0]


def cross_product(x: Tensor, y: Tensor) -> Tensor:
    """Return X^H Y on the device of x; a real side is promoted where the other is complex."""
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype).mH @ y.to(x.device, dtype)


def gram(rows: Tensor) -> Tensor:
    """Return X^H X in float64 (complex128), at half the cost of a general product."""
    width = rows.shape[1]
    out = torch.zeros(width, width, dtype=accumulator_dtype(rows.dtype), device=rows.device)
    _add_upper(out, rows)
    _mirror(out)
    return out


def _add_upper(out: Tensor, rows: Tensor) -> None:
    """Add X^H X to the upper triangle; below the diagonal only what lies in the same strip is right."""
    for start, stop in _strips(rows):
        _add_product(out[start:stop, start:], rows[:, start:stop], rows[:, start:])


def _mirror(out: Tensor) -> None:
    """Fill in what `_add_upper` left out."""
    for start, stop in _strips(out):
        out[stop:, start:stop] = out[start:stop, stop:].mH


def _strips(columns: Tensor) -> list[tuple[int, int]]:
    """Return the columns of each product. A GPU, where a launch costs more than half a product, takes all at once."""
    width = columns.shape[1]
    strip = STRIP if columns.device.type == "cpu" else max(width, 1)
    return [(start, min(start + strip, width)) for start in range(0, width, strip)]


def _add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    if out.dtype == left.dtype:
        out.addmm_(left.mH, right)
    else:  # float32 products, float64 sums
        out += left.mH @ right


class ScatterSums:
    """Running mean and scatter of many layers side by side, folded in place a fixed number of rows at a time.

    Args:
        layers: The first rows of each layer: widths, dtypes, device.
        n_left: Number of row layers among them; the rest are column layers.
        self_comparison: Whether the columns are the rows: one set of layers against itself.
        precision: Precision of the products; they are summed in float64 all the same.
        chunk_values: Number of values folded at a time.
    """

    def __init__(
        self,
        layers: Sequence[Tensor],
        n_left: int,
        *,
        self_comparison: bool,
        precision: Precision = FLOAT64,
        chunk_values: int = CHUNK_VALUES,
    ) -> None:
        widths = [layer.shape[1] for layer in layers]
        total, device = sum(widths), layers[0].device
        wide = reduce(torch.promote_types, [accumulator_dtype(layer.dtype) for layer in layers])
        self.n_samples = 0
        self._real = [not layer.is_complex() for layer in layers]
        self._slices = slices(widths)
        self._left = slice(0, sum(widths[:n_left]))
        self._right = self._left if self_comparison else slice(self._left.stop, total)
        self._chunk_rows = min(max(chunk_values // total, 256), 4096)
        self._filled = 0
        # One row more than a chunk: the shift between the old mean and the chunk's rides along in the same product.
        working = working_dtype(wide, precision)
        self._buffer = torch.empty(self._chunk_rows + 1, total, dtype=working, device=device)
        # Rows are taken relative to the first: what is constant is exactly zero, a large mean costs the sums no digit.
        self._origin = torch.cat([layer[0].to(wide) for layer in layers])
        self._mean = torch.zeros(total, dtype=wide, device=device)
        self._cross = torch.zeros(self._left.stop, self._right.stop - self._right.start, dtype=wide, device=device)
        if self_comparison:
            self._scatters = [self._cross[block, block] for block in self._slices]
        else:
            self._scatters = [torch.zeros(width, width, dtype=wide, device=device) for width in widths]
        self._self_comparison = self_comparison

    def update(self, layers: Sequence[Tensor]) -> None:
        """Copy a batch into the buffer, folding whenever it is full."""
        n_batch, start = layers[0].shape[0], 0
        while start < n_batch:
            step = min(n_batch - start, self._chunk_rows - self._filled)
            for block, layer in zip(self._slices, layers, strict=True):
                target = self._buffer[self._filled : self._filled + step, block]
                # In the wider of both dtypes: float32 rows need no detour over float64 on their way to float32.
                origin = self._origin[block].to(torch.promote_types(layer.dtype, target.dtype))
                torch.sub(layer[start : start + step], origin, out=target)
            self._filled += step
            start += step
            if self._filled == self._chunk_rows:
                self._fold()

    def _fold(self) -> None:
        """Merge the buffered rows (Chan, Golub & LeVeque 1983): centre them, add the shift of the mean as a row."""
        n_new = self._filled
        rows = self._buffer[:n_new]
        mean = column_mean(rows)
        rows -= mean
        shift = mean - self._mean
        total = self.n_samples + n_new
        self._buffer[n_new] = shift * (self.n_samples * n_new / total) ** 0.5
        self._mean += shift * (n_new / total)
        self.n_samples, self._filled = total, 0
        rows = self._buffer[: n_new + 1]
        if self._self_comparison:
            _add_upper(self._cross, rows)
            return
        _add_product(self._cross, rows[:, self._left], rows[:, self._right])
        for block, scatter in zip(self._slices, self._scatters, strict=True):
            _add_upper(scatter, rows[:, block])

    def finish(self) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Return each layer's mean and scatter, and the cross-scatter of all row layers with all column layers."""
        if self._filled:
            self._fold()
        for each in [self._cross] if self._self_comparison else self._scatters:
            _mirror(each)
        means = [self._origin[block] + self._mean[block] for block in self._slices]
        return (
            [mean.real if real else mean for mean, real in zip(means, self._real, strict=True)],
            [scatter.real if real else scatter for scatter, real in zip(self._scatters, self._real, strict=True)],
            self._cross,
        )


def slices(sizes: Sequence[int]) -> list[slice]:
    """Return the slices of blocks of these sizes, one after the other."""
    edges = [0]
    for size in sizes:
        edges.append(edges[-1] + size)
    return [slice(start, stop) for start, stop in pairwise(edges)]
