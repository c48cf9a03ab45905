"""Activations on disk: arrays by layer name, in .npz or .safetensors. Nothing that is read can run code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, to_numpy, to_tensor
from svcca.errors import FileError, InputError, message
from svcca.io.files import PathLike, write_atomically

ACTIVATION_SUFFIXES = (".npz", ".safetensors")
SUFFIXES_SHOWN = " or ".join(ACTIVATION_SUFFIXES)
ORDER_KEY = "svcca.order"  # safetensors sorts its entries; layers have an order of execution


def load_activations(path: PathLike) -> dict[str, Tensor]:
    """Read activations by layer name, in the order in which they were saved.

    Args:
        path: A .npz or .safetensors file.

    Returns:
        Tensors by layer name.

    Raises:
        FileError: If the file is missing or corrupt, holds no array or pickled objects, or has another suffix.
        InputError: If an array is not of a floating-point type.
    """
    where = f"load {path}"
    suffix = Path(path).suffix.lower()
    if suffix not in ACTIVATION_SUFFIXES:
        weights = suffix in (".pt", ".pth", ".ckpt")
        remedy = "A checkpoint of weights goes with --model and --checkpoint" if weights else ""
        raise FileError(message(where, f"activations in {SUFFIXES_SHOWN}", suffix or "no suffix", "", remedy))
    if not Path(path).is_file():
        raise FileError(message(where, "a file", "none there"))
    arrays = _read_npz(path, where) if suffix == ".npz" else _read_safetensors(path, where)
    if not arrays:
        raise FileError(message(where, "at least one array", "an empty file"))
    return arrays


def _read_npz(path: PathLike, where: str) -> dict[str, Tensor]:
    try:
        with open(path, "rb") as file:  # np.load leaves a file that it opened itself open when the archive is broken
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single .npy array under the name of an archive")
            with archive:
                arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # NumPy raises whatever the broken byte happens to meet, zlib.error and more
        if "pickle" in str(error).lower():
            cause, remedy = "Reading a pickle can run code, so it is refused", "Save plain numeric arrays"
            raise FileError(message(where, "plain arrays", "pickled objects", cause, remedy)) from error
        raise _unreadable(where, "an .npz archive", error) from error
    return {name: to_tensor(array, f"{path} {name!r}") for name, array in arrays.items()}


def _read_safetensors(path: PathLike, where: str) -> dict[str, Tensor]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as archive:
            names = _saved_order(list(archive.keys()), archive.metadata() or {})
            tensors = {name: archive.get_tensor(name) for name in names}
    except Exception as error:  # as above
        raise _unreadable(where, "a .safetensors file", error) from error
    return {name: to_tensor(tensor, f"{path} {name!r}") for name, tensor in tensors.items()}


def _saved_order(names: list[str], metadata: Mapping[str, str]) -> list[str]:
    """Return the order of execution where the file has one that names all its entries, else the file's own."""
    try:
        order = json.loads(metadata.get(ORDER_KEY, "null"))
    except ValueError:
        return names
    return order if isinstance(order, list) and sorted(map(str, order)) == sorted(names) else names


def _unreadable(where: str, kind: str, error: Exception) -> FileError:
    cause = "The file is truncated or of another kind"
    return FileError(message(where, kind, f"{type(error).__name__}: {error}", cause))


def save_activations(path: PathLike, activations: Mapping[str, ArrayLike]) -> Path:
    """Write activations by layer name as .safetensors or .npz.

    Both keep the order of the layers; .safetensors keeps every dtype, where .npz turns bfloat16 into float32.

    Args:
        path: File to write; its suffix says the format.
        activations: Arrays by layer name.

    Returns:
        The path written.

    Raises:
        FileError: If the suffix is another one, or the file cannot be written; nothing half-written is left behind.
        InputError: If an entry is not a floating-point array, or is complex128 where .safetensors is asked for.
    """
    where = f"save {path}"
    suffix = Path(path).suffix.lower()
    tensors = {name: to_tensor(array, f"layer {name!r}").contiguous() for name, array in activations.items()}
    if suffix == ".safetensors":
        if odd := [name for name, tensor in tensors.items() if tensor.dtype == torch.complex128]:
            cause, got = "The .safetensors format has no such numbers", f"complex128 in {odd[0]!r}"
            raise InputError(message(where, "float or complex64 arrays", got, cause, "Save as .npz"))
        # Views of one storage cannot be written; copies can.
        apart = {name: tensor.cpu().clone() for name, tensor in tensors.items()}
        order = {ORDER_KEY: json.dumps(list(apart))}
        return write_atomically(path, partial(_write_safetensors, apart, order))
    if suffix == ".npz":
        arrays = {name: to_numpy(t.float() if t.dtype == torch.bfloat16 else t) for name, t in tensors.items()}
        return write_atomically(path, partial(_write_npz, arrays))
    raise FileError(message(where, f"a name that ends in {SUFFIXES_SHOWN}", suffix or "no suffix"))


def _write_npz(arrays: Mapping[str, np.ndarray[Any, Any]], path: Path) -> None:
    """Write what `np.savez` would; it takes names as keywords, and so cannot save a layer called "file"."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _write_safetensors(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:  # a full disk, in its own words
        raise OSError(str(error)) from error
