"""Checkpoints: found, ordered by step, and loaded into a model. Files are read as data, never as code."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from svcca.errors import FileError, InputError, SvccaWarning, message
from svcca.io.files import PathLike

WRAPPER_PREFIXES = ("module.", "_orig_mod.")
STATE_KEYS = ("state_dict", "model_state_dict", "model")
SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
IN_FOLDERS = ("model.safetensors", "pytorch_model.bin")
"""Weights in a folder of their own, as Hugging Face's `checkpoint-500`."""

Weights = PathLike | Mapping[str, Tensor]
"""A file of weights, or a state dict in memory."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights at one step of training.

    Attributes:
        step: The step of training; checkpoints are ordered by it.
        weights: A file, or a state dict in memory.
        name: Its name in messages.
    """

    step: int
    weights: Path | Mapping[str, Tensor]
    name: str

    def load_into(self, model: nn.Module) -> None:
        """Load the weights into a model.

        Raises:
            FileError: If the file is missing or damaged, or its names or shapes are not the model's.
        """
        if isinstance(self.weights, Path):
            load_checkpoint(model, self.weights)
        else:
            load_state(model, self.weights, f"checkpoint {self.name}")

    def loaded_into(self, model: nn.Module, *, skip_unreadable: bool) -> bool:
        """Load the weights as `load_into` does; on request, warn of a file that cannot be read instead of raising.

        Returns:
            Whether they were loaded.
        """
        try:
            self.load_into(model)
        except FileError as error:
            if not skip_unreadable:
                raise
            warnings.warn(f"Left out: {error}", SvccaWarning, stacklevel=3)
            return False
        return True


def find_checkpoints(source: PathLike | Sequence[Weights], steps: Sequence[int] | None = None) -> list[Checkpoint]:
    """Find the checkpoints in a folder, or take those given, ordered by step.

    A step is the last number in the name (`epoch=3-step=1200.ckpt`, `checkpoint-500/`, `net_020.pt`).

    Args:
        source: A folder of files (.pt, .pth, .ckpt, .bin, .safetensors) and of folders that hold `model.safetensors` or
            `pytorch_model.bin`; or a list of such files and folders, or of state dicts.
        steps: The steps of a list, in place of those in the names; ascending.

    Raises:
        FileError: If the folder is missing or holds no checkpoint.
        InputError: If a name has no number, two checkpoints have the same step, or the steps given do not fit.
    """
    if isinstance(source, (str, Path)) or hasattr(source, "__fspath__"):
        entries: Sequence[Weights] = _in_folder(Path(source))
        where = f"checkpoints in {source}"
    else:
        entries, where = list(source), "checkpoints"
    if not entries:
        raise InputError(message(where, "at least two checkpoints", "none"))
    if steps is None:
        found = [_with_step(entry, where) for entry in entries]
        found.sort(key=lambda checkpoint: checkpoint.step)
    else:
        if len(steps) != len(entries):
            raise InputError(message(where, f"a step for each of {len(entries)} checkpoints", str(len(steps))))
        if list(steps) != sorted(steps):
            got = ", ".join(str(step) for step in steps[:8])
            raise InputError(message(where, "steps in ascending order, with their checkpoints", got))
        found = [Checkpoint(int(step), *_named(entry, int(step))) for step, entry in zip(steps, entries, strict=True)]
    repeated = [b for a, b in pairwise(found) if a.step == b.step]
    if repeated:
        remedy = "Pass a list of files, and steps="
        got = f"step {repeated[0].step} twice ({repeated[0].name})"
        raise InputError(message(where, "one checkpoint a step", got, "", remedy))
    return found


def _in_folder(folder: Path) -> list[Weights]:
    if not folder.is_dir():
        raise FileError(message(f"checkpoints in {folder}", "a folder", "none there"))
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in SUFFIXES]
    folders = [path for path in sorted(folder.iterdir()) if path.is_dir() and _weights_in(path) is not None]
    found: list[Weights] = [*files, *folders]
    if not found:
        expected = f"files of weights ({', '.join(SUFFIXES)}), or folders that hold {' or '.join(IN_FOLDERS)}"
        raise FileError(message(f"checkpoints in {folder}", expected, "none there"))
    return found


def _weights_in(folder: Path) -> Path | None:
    return next((folder / name for name in IN_FOLDERS if (folder / name).is_file()), None)


def _with_step(entry: Weights, where: str) -> Checkpoint:
    if isinstance(entry, Mapping):
        got, remedy = "state dicts without", "Pass steps=[...]"
        raise InputError(message(where, "a step for each checkpoint", got, "", remedy))
    path = Path(entry)
    numbers = re.findall(r"\d+", path.stem if path.suffix in SUFFIXES else path.name)
    if not numbers:
        cause, remedy = "Its name holds no number", "Name files by step, as net-100.pt, or pass a list and steps="
        raise InputError(message(where, "a step in each name", repr(path.name), cause, remedy))
    step = int(numbers[-1])
    return Checkpoint(step, *_named(entry, step))


def _named(entry: Weights, step: int) -> tuple[Path | Mapping[str, Tensor], str]:
    """Return the file (inside a folder) or the state dict, and its name in messages."""
    if isinstance(entry, Mapping):
        return entry, f"at step {step}"
    path = Path(entry)
    return (_weights_in(path) or path) if path.is_dir() else path, str(path)


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Load weights into a model from .safetensors or a torch file, read with weights_only.

    A state dict inside "state_dict", "model_state_dict" or "model" is found; names led by a wrapper ("module.") fit.

    Raises:
        FileError: If the file is missing, damaged, holds code, or its names or shapes are not the model's.
    """
    where = f"checkpoint {path}"
    load_state(model, read_state(path, where), where)


def load_state(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict whose names and shapes must be the model's, wrappers' prefixes aside.

    Raises:
        FileError: If they are not; names that are missing and unexpected are listed.
    """
    state = unwrapped(state, set(model.state_dict()))
    try:
        report = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise FileError(message(where, "weights of the model's shapes", str(error))) from error
    if report.missing_keys or report.unexpected_keys:
        got = f"missing {_some(report.missing_keys)}; unexpected {_some(report.unexpected_keys)}"
        raise FileError(message(where, "the model's own weights", got, "It comes from another architecture"))


def read_state(path: Path, where: str) -> Mapping[str, Tensor]:
    """Read the state dict in a .safetensors or torch file, as data and never as code.

    Raises:
        FileError: If the file is missing, damaged, or holds something else.
    """
    state: Any
    if not path.is_file():
        raise FileError(message(where, "a file", "none there"))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        cause = "It holds more than weights, or is damaged; running code from a file is refused"
        remedy = "Save model.state_dict() instead"
        raise FileError(message(where, "a state dict", f"{str(error).splitlines()[0]}", cause, remedy)) from error
    except Exception as error:  # torch.load raises whatever the damaged byte meets
        got = f"{type(error).__name__}: {error}"
        raise FileError(
            message(where, "a readable checkpoint", got, "The file is truncated or no such file")
        ) from error
    for key in STATE_KEYS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    named = isinstance(state, Mapping) and all(isinstance(name, str) for name in state)
    if not named or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise FileError(message(where, "a state dict of tensors", type(state).__name__))
    tensors: Mapping[str, Tensor] = state
    return tensors


def unwrapped(state: Mapping[str, Tensor], own_names: set[str]) -> Mapping[str, Tensor]:
    """Strip wrappers' prefixes, one after the other, where they lead every name and are not the model's own.

    A wrapper of parallel or compiled models has a known name; a Lightning module calls the model what it likes.
    """
    while state and not own_names & set(state):
        first = next(iter(state)).partition(".")[0] + "."
        known = next((p for p in WRAPPER_PREFIXES if all(name.startswith(p) for name in state)), None)
        stripped = {name.removeprefix(first) for name in state}
        prefix = known or (first if all(n.startswith(first) for n in state) and stripped & own_names else None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5]) or "none"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
