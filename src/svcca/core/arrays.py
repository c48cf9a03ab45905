"""The boundary: anything with `__dlpack__` or `__array__` becomes a checked torch tensor.

Checking for NaN reads all of the data, so it is done once. Throughout the library a function that takes an `ArrayLike`
checks it; one that takes a `Tensor` of rows trusts it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from svcca.errors import InputError, NonFiniteError, SampleError, message

ArrayLike = Any
"""Any object with `__dlpack__` or `__array__`: NumPy, torch, JAX, CuPy arrays, pandas frames."""


AS_FLOATS = "Convert with .astype('float32') if these really are activations"


def to_tensor(x: ArrayLike, where: str, remedy: str = AS_FLOATS) -> Tensor:
    """View an array as a detached tensor on its own device, without a copy where that is possible.

    Args:
        x: Any object with `__dlpack__` or `__array__`.
        where: The array's name in an error.
        remedy: What to do about integers, for the message.

    Raises:
        InputError: If `x` is not an array, or its dtype is not a floating or complex one.
    """
    if isinstance(x, Tensor):
        if x.layout is not torch.strided:
            raise InputError(message(where, "a dense tensor", str(x.layout), remedy="Convert with .to_dense()"))
        tensor = x.detach()
    elif isinstance(x, np.ma.MaskedArray):
        raise InputError(message(where, "an array without a mask", "a masked array", "", "Drop or fill masked rows"))
    elif hasattr(x, "__dlpack__") and not isinstance(x, np.ndarray):
        tensor = torch.utils.dlpack.from_dlpack(x)
    elif hasattr(x, "__array__"):
        tensor = from_numpy(np.asarray(x), where)
    else:
        raise InputError(message(where, "an array", type(x).__name__, remedy="Pass a tensor or a NumPy array"))
    if not (tensor.is_floating_point() or tensor.is_complex()):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(
            message(
                where,
                "floating-point activations",
                f"dtype {kind}",
                "Labels, token ids or raw images are not activations",
                remedy,
            )
        )
    return tensor


def from_numpy(array: np.ndarray[Any, Any], where: str) -> Tensor:
    """Wrap a NumPy array of numbers as a tensor; copy only what torch cannot view.

    Raises:
        InputError: If the array holds objects, strings or dates.
    """
    if array.dtype.kind not in "fcbiu":
        raise InputError(
            message(
                where,
                "floating-point activations",
                f"dtype {array.dtype}",
                "An object array often holds rows of unequal length",
                "Stack them into one array",
            )
        )
    if array.dtype in (np.longdouble, np.clongdouble):  # torch knows no wider float than 64 bits
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.complex128)
    # torch cannot view read-only memory (np.load(mmap_mode="r")), other byte orders or negative strides.
    strides_fit = all(step >= 0 and step % array.itemsize == 0 for step in array.strides)  # a packed field's do not
    viewable = array.flags.writeable and array.dtype.isnative and strides_fit
    return torch.from_numpy(array if viewable else np.array(array, dtype=array.dtype.newbyteorder("=")))


def to_rows(x: ArrayLike, where: str, *, least: int = 2) -> Tensor:
    """Check an array as activations: `(n_samples, n_features)`, floating point, finite.

    Args:
        x: The array.
        where: Its name in an error.
        least: The smallest number of samples allowed. Default 2.

    Raises:
        InputError: If it is not such an array.
        NonFiniteError: If it holds NaN or infinity.
        SampleError: If it has fewer samples.
    """
    rows = to_tensor(x, where)
    if rows.ndim != 2:
        raise InputError(
            message(
                where,
                "shape (n_samples, n_features)",
                f"shape {tuple(rows.shape)}",
                remedy="Reshape it to rows, or name an observation rule in svcca.compare(observe=...)",
            )
        )
    check_sizes(rows, where, least)
    check_finite(rows, where)
    return rows


def to_row_pair(x: ArrayLike, y: ArrayLike) -> tuple[Tensor, Tensor]:
    """Check two arrays as activations of the same samples.

    Raises:
        InputError: If one of them is not an array of activations, or they differ in their number of rows.
    """
    rows_x, rows_y = to_rows(x, "x"), to_rows(y, "y")
    check_same_samples(rows_x, rows_y, "x and y")
    return rows_x, rows_y


def to_maps(x: ArrayLike, where: str, channels_last: bool = False) -> Tensor:
    """Check an array as maps (n_samples, n_channels, *sizes), or vectors (n_samples, n_features): real, finite.

    Args:
        x: The array.
        where: Its name in an error.
        channels_last: Whether maps come as (n_samples, *sizes, n_channels).

    Returns:
        The maps as (n_samples, n_channels, *sizes), a view.

    Raises:
        InputError: If it is not such an array.
        NonFiniteError: If it holds NaN or infinity.
        SampleError: If it has fewer than two samples.
    """
    maps = to_tensor(x, where)
    shape = tuple(maps.shape)
    if maps.ndim < 2:
        raise InputError(message(where, "maps (n_samples, n_channels, *sizes)", f"shape {shape}"))
    if maps.is_complex():
        raise InputError(message(where, "real maps", f"dtype {str(maps.dtype).removeprefix('torch.')}"))
    check_samples(shape[0], where)
    if 0 in shape:
        raise InputError(message(where, "at least one channel and position", f"shape {shape}"))
    check_finite(maps, where)
    return maps.movedim(-1, 1) if channels_last and maps.ndim > 2 else maps


def check_sizes(rows: Tensor, where: str, least: int = 2) -> None:
    """Raise SampleError for rows (n_samples, n_features) of too few samples, InputError for rows without a feature."""
    check_samples(rows.shape[0], where, least)
    if rows.shape[1] == 0:
        raise InputError(message(where, "at least 1 feature", "0"))


def check_samples(n_samples: int, where: str, least: int = 2) -> None:
    """Raise SampleError if there are fewer samples than a definition needs."""
    if n_samples < least:
        expected = f"at least {least} sample{'s' if least > 1 else ''}"
        raise SampleError(message(where, expected, str(n_samples), "Correlation needs spread between samples"))


def check_same_samples(x: Tensor, y: Tensor, where: str) -> None:
    """Raise SampleError unless both sides have the same number of rows."""
    if x.shape[0] != y.shape[0]:
        raise SampleError(
            message(
                where,
                "the same samples, in the same order, on both sides",
                f"{x.shape[0]} and {y.shape[0]} rows",
                remedy="Pass activations of one and the same list of inputs",
            )
        )


def check_finite(x: Tensor, where: str) -> None:
    """Raise NonFiniteError if `x` holds NaN or infinity.

    Cost: one read of `x`, and no temporary of its size while all is well.
    """
    # A sum lets NaN and infinity through. It can overflow on finite input, hence the second look. It is taken in the
    # array's own dtype, as any other means a copy, except in half precision, which overflows all the time.
    if bool(torch.isfinite(x.sum(dtype=torch.float32 if x.element_size() <= 2 else None))):
        return
    finite = torch.isfinite(x)
    bad = int(finite.numel() - finite.sum())
    if bad == 0:
        return
    first = tuple(int(i) for i in (~finite).nonzero()[0])
    value = "NaN" if bool(torch.isnan(x[first])) else "infinity"
    raise NonFiniteError(
        message(
            where,
            "finite activations",
            f"{bad} that are not (first: {value} at {first})",
            "Training diverged, a half-precision layer overflowed, or an input is corrupt",
        )
    )


def accumulator_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which sums over samples are kept: float64, or complex128 for complex input."""
    return torch.complex128 if dtype.is_complex else torch.float64


def source_eps(dtype: torch.dtype) -> float:
    """Return the machine epsilon of the dtype that the data came in: noise below it is not signal."""
    return float(torch.finfo(dtype).eps)


def to_numpy(x: Tensor) -> np.ndarray[Any, Any]:
    """Return a (small) result as a NumPy array on the CPU."""
    array: np.ndarray[Any, Any] = x.detach().cpu().numpy()
    return array
