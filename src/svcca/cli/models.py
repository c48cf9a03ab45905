"""Models, checkpoints, functions and inputs that a command line names. Files are read as data, never as code."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from svcca.capture.checkpoints import load_checkpoint
from svcca.errors import FileError, InputError, message

if TYPE_CHECKING:
    from svcca.compare.pairs import Network


def import_object(spec: str) -> object:
    """Import the object that "package.module:name" names; modules in the working directory are found too.

    Raises:
        InputError: If the spec has another form, or if its module or name does not exist.
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


def build_model(spec: str, checkpoint: Path | None, device: str | None = None) -> nn.Module:
    """Build a network by the factory "package.module:factory", and load a checkpoint into it.

    Args:
        spec: The name of a function that returns a module, or of a module itself.
        checkpoint: The file of its weights; None keeps those that it has.
        device: The device to move it to; None leaves it where it is.

    Raises:
        InputError: If the spec does not lead to a module, or if there is no such device.
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
    return _on_device(model, device)


def load_networks(
    a: str | None, b: str | None, models: list[str], checkpoints: list[Path], device: str | None
) -> list[tuple[Network, str]]:
    """Load the one or two networks that a command line names.

    Args:
        a: The path of a file of activations, if any.
        b: The path of a second one, if any.
        models: The specs of models: one for all checkpoints, or one for each.
        checkpoints: The files of their weights.
        device: The device to move models to; None leaves them where they are.

    Returns:
        Each network and its title; models come before files.

    Raises:
        InputError: If this names no network or more than two, or if models and checkpoints do not match.
        FileError: If a checkpoint cannot be read or does not fit.
    """
    files = [path for path in (a, b) if path is not None]
    n_live = max(len(models), len(checkpoints))
    if checkpoints and not models:
        raise InputError(message("compare", "--model beside --checkpoint", "none", "Weights need their architecture"))
    if n_live + len(files) not in (1, 2):
        remedy = "Name two files of activations, or --model with one or two --checkpoint"
        raise InputError(message("compare", "one or two networks", str(n_live + len(files)), "", remedy))
    if len(models) > 1 and checkpoints and len(models) != len(checkpoints):
        got = f"{len(models)} models and {len(checkpoints)} checkpoints"
        raise InputError(message("compare", "one model for all checkpoints, or one for each", got))
    networks: list[tuple[Network, str]] = []
    for i in range(n_live):
        spec, checkpoint = models[min(i, len(models) - 1)], checkpoints[i] if checkpoints else None
        networks.append((build_model(spec, checkpoint, device), str(checkpoint or spec)))
    return networks + [(path, path) for path in files]


def _on_device(model: nn.Module, device: str | None) -> nn.Module:
    try:
        return model.to(device) if device else model
    except (RuntimeError, AssertionError) as error:  # torch's words for no such device, or none here
        raise InputError(message(f"--device {device}", "a device that is there", str(error).splitlines()[0])) from error


def import_function(spec: str) -> Callable[..., Any]:
    """Import the function that "package.module:function" names.

    Raises:
        InputError: If it does not exist or cannot be called.
    """
    found = import_object(spec)
    if not callable(found):
        raise InputError(message(spec, "a function", type(found).__name__))
    return found


def load_inputs(spec: str) -> object:
    """Load the inputs that models are run on: "package.module:loader", or a file (.npy, .npz, .safetensors).

    Returns:
        The loader, or what it returns if it is a function. Of a file with one array, that array, a batch of inputs;
        of a file with several, a dict of them, which a model takes as keywords.

    Raises:
        FileError: If the file cannot be read as arrays.
        InputError: If the spec is neither a file of these kinds nor "package.module:name".
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
