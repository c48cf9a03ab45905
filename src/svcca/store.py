"""Activations on disk: layer name -> array, in .npz or .safetensors. Nothing that is read can run code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, to_numpy, to_tensor
from svcca.errors import FileError, message
from svcca.files import PathLike, write_atomically

ACTIVATION_SUFFIXES = (".npz", ".safetensors")
SUFFIXES_SHOWN = " or ".join(ACTIVATION_SUFFIXES)
ORDER_KEY = "svcca.order"  # safetensors sorts its entries; layers have an order of execution


def load_activations(path: PathLike) -> dict[str, Tensor]:
    """Read activations by layer name, in the order in which they were saved.

    Raises:
        FileError: If the file is missing, corrupt, holds no array, holds pickled objects, or has another suffix.
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
    # NumPy raises whatever the broken byte happens to meet: each of these was seen on truncated or foreign files.
    damage = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError)
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("a single .npy array under the name of an archive")
        with archive:
            return {name: to_tensor(archive[name], f"{path} {name!r}") for name in archive.files}
    except damage as error:
        if "pickle" in str(error).lower():
            cause, remedy = "Reading a pickle can run code, so it is refused", "Save plain numeric arrays"
            raise FileError(message(where, "plain arrays", "pickled objects", cause, remedy)) from error
        raise _unreadable(where, "an .npz archive", error) from error


def _read_safetensors(path: PathLike, where: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as archive:
            names = json.loads((archive.metadata() or {}).get(ORDER_KEY, "null")) or list(archive.keys())
            return {name: to_tensor(archive.get_tensor(name), f"{path} {name!r}") for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(where, "a .safetensors file", error) from error


def _unreadable(where: str, kind: str, error: Exception) -> FileError:
    cause = "The file is truncated or is no such file"
    return FileError(message(where, kind, f"{type(error).__name__}: {error}", cause))


def save_activations(path: PathLike, activations: Mapping[str, ArrayLike]) -> Path:
    """Write activations by layer name as .safetensors or .npz; nothing half-written is left behind.

    Both keep the order of the layers; .safetensors keeps every dtype, where .npz turns bfloat16 into float32.

    Raises:
        FileError: If the suffix is another one, or the file cannot be written.
        InputError: If an entry is no floating-point array.
    """
    suffix = Path(path).suffix.lower()
    tensors = {name: to_tensor(array, f"layer {name!r}").contiguous() for name, array in activations.items()}
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        # Views of one storage cannot be written; copies can.
        apart = {name: tensor.cpu().clone() for name, tensor in tensors.items()}
        order = {ORDER_KEY: json.dumps(list(apart))}
        return write_atomically(path, lambda temporary: save_file(apart, temporary, metadata=order))
    if suffix == ".npz":
        arrays = {name: to_numpy(t.float() if t.dtype == torch.bfloat16 else t) for name, t in tensors.items()}
        return write_atomically(path, lambda temporary: np.savez(temporary, **arrays))  # type: ignore[arg-type]
    raise FileError(message(f"save {path}", f"a name that ends in {SUFFIXES_SHOWN}", suffix or "no suffix"))
