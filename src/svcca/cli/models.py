"""What the command line names: a factory of models, a checkpoint, inputs. Files are read as data, never as code."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from svcca.capture.checkpoints import load_checkpoint
from svcca.errors import FileError, InputError, message


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


def import_function(spec: str) -> Callable[..., Any]:
    """Import a function "package.module:function".

    Raises:
        InputError: If there is none there, or what is there cannot be called.
    """
    found = import_object(spec)
    if not callable(found):
        raise InputError(message(spec, "a function", type(found).__name__))
    return found


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
