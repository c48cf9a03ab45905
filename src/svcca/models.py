"""What the command line names: a factory of models, a checkpoint, inputs. Files are read as data, never as code."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from svcca.errors import FileError, InputError, message

WRAPPER_PREFIXES = ("module.", "_orig_mod.")
STATE_KEYS = ("state_dict", "model_state_dict", "model")


def import_object(spec: str) -> object:
    """Import what "package.module:name" says; modules of the working directory are found too.

    Raises:
        InputError: If the spec has another form, or its module or name does not exist.
    """
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise InputError(message(spec, "package.module:name", repr(spec), "", "For instance mypackage.nets:resnet18"))
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: object = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise InputError(
            message(spec, "a module that can be imported", str(error), "", "Run from its folder, or install it")
        ) from error
    except AttributeError as error:
        raise InputError(message(spec, f"a name in {module_name}", str(error))) from error
    finally:
        sys.path.remove(str(Path.cwd()))
    return found


def build_model(spec: str, checkpoint: Path | None) -> nn.Module:
    """Call a factory "package.module:factory" (or take a module object) and load a checkpoint into it.

    Raises:
        InputError: If the factory does not give a module.
        FileError: If the checkpoint cannot be read or does not fit.
    """
    found = import_object(spec)
    model = found if isinstance(found, nn.Module) else found() if callable(found) else found
    # A copy: a module object, or what a cached factory returns, may be asked for again with another checkpoint.
    model = copy.deepcopy(model)
    if not isinstance(model, nn.Module):
        raise InputError(message(spec, "a torch.nn.Module or a function that returns one", type(model).__name__))
    if checkpoint is not None:
        load_checkpoint(model, checkpoint)
    return model


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Load weights into a model from .safetensors or a torch file, read with weights_only.

    A state dict inside "state_dict", "model_state_dict" or "model" is found; names led by a wrapper ("module.") fit.

    Raises:
        FileError: If the file is missing, damaged, holds code, or its names or shapes are not the model's.
    """
    where = f"checkpoint {path}"
    state = _unwrapped(_read_state(path, where), set(model.state_dict()))
    try:
        report = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise FileError(message(where, "weights of the model's shapes", str(error))) from error
    if report.missing_keys or report.unexpected_keys:
        got = f"missing {_some(report.missing_keys)}; unexpected {_some(report.unexpected_keys)}"
        raise FileError(message(where, "the model's own weights", got, "It comes from another architecture"))


def _read_state(path: Path, where: str) -> Mapping[str, Tensor]:
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


def _unwrapped(state: Mapping[str, Tensor], own_names: set[str]) -> Mapping[str, Tensor]:
    """Take wrappers' prefixes off, one after the other, where they lead every name and are not the model's own."""
    while state and not own_names & set(state):
        prefix = next((p for p in WRAPPER_PREFIXES if all(name.startswith(p) for name in state)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5]) or "none"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def load_inputs(spec: str) -> object:
    """Get what models are run on: "package.module:loader", or a file of inputs (.npy, .npz, .safetensors).

    One array is a batch of inputs; several are passed to the model as keywords by their names.

    Raises:
        FileError: If the file cannot be read as arrays.
        InputError: If the spec is neither.
    """
    path = Path(spec)
    if path.suffix not in (".npy", ".npz", ".safetensors"):
        found = import_object(spec)
        return found() if callable(found) else found
    where = f"data {spec}"
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            arrays = load_file(path)
        else:
            loaded = np.load(path, allow_pickle=False)
            named = {"inputs": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
            arrays = {name: torch.from_numpy(array) for name, array in named.items()}
    except Exception as error:  # damaged archives raise errors of many kinds
        raise FileError(message(where, "a file of plain arrays", f"{type(error).__name__}: {error}")) from error
    if not arrays:
        raise FileError(message(where, "at least one array", "none"))
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays
