"""A compressed network on disk: its weights, and back into a fresh network; or the whole as a program of torch's."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from svcca.capture.batches import call_arguments, device_of, to_device
from svcca.capture.checkpoints import load_state, read_state, unwrapped
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.capture.layers import unwrap
from svcca.compress.factors import shaped_as
from svcca.compress.placing import replace
from svcca.errors import InputError, message
from svcca.io.files import PathLike, write_atomically


def load_compressed(model: nn.Module, state: PathLike | Mapping[str, Tensor]) -> nn.Module:
    """Return a network with the weights of a compressed one: its layers are split as the weights say.

    Args:
        model: The network as it was before it was compressed; left as it is.
        state: state_dict() of the compressed one, or a file of it: .pt (read with weights_only), .safetensors. Names
            led by a wrapper ("module.", as of parallel training) fit.

    Raises:
        FileError: If the file cannot be read, or the weights are not those of this network, compressed.

    >>> import svcca, torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(9, 30), torch.nn.ReLU(), torch.nn.Linear(30, 30))
    >>> smaller = svcca.compress(net, torch.randn(100, 9), layers="2", ranks=5)
    >>> again = svcca.load_compressed(net, smaller.state_dict())
    >>> torch.equal(again(torch.ones(2, 9)), smaller(torch.ones(2, 9)))
    True
    """
    where = "weights of a compressed network" if isinstance(state, Mapping) else f"compressed network {state}"
    weights = state if isinstance(state, Mapping) else read_state(Path(state), where)
    new = copy.deepcopy(unwrap(model))
    layers = {name: layer for name, layer in new.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}
    split = {f"{name}.{i}.{part}" for name in layers for i in (0, 1) for part in ("weight", "bias")}
    weights = unwrapped(weights, split | set(new.state_dict()))
    for name, layer in layers.items():
        whole, first, second = (weights.get(f"{name}{part}.weight") for part in ("", ".0", ".1"))
        if first is not None and second is not None:
            inner = shaped_as(layer, first, bias=f"{name}.0.bias" in weights, pointwise=True)
            outer = shaped_as(layer, second, bias=f"{name}.1.bias" in weights)
            replace(new, name, nn.Sequential(inner, outer))
        elif whole is not None and whole.ndim == layer.weight.ndim:
            biased = f"{name}.bias" in weights
            if whole.shape != layer.weight.shape or biased != (layer.bias is not None):
                replace(new, name, shaped_as(layer, whole, bias=biased))
    load_state(new, weights, where)
    return new


def save_weights(model: nn.Module, path: Path) -> Path:
    """Write a network's state dict as .safetensors, or as a torch file; nothing half-written is left behind.

    Raises:
        FileError: If the file cannot be written.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        # Copies: weights that are tied share their memory, which this format refuses.
        copies = {name: tensor.clone() for name, tensor in state.items()}
        return write_atomically(path, lambda temporary: save_file(copies, temporary))
    return write_atomically(path, lambda temporary: torch.save(state, temporary))


def export_program(model: nn.Module, batch: Any, path: Path) -> Path:
    """Write a network in evaluation mode as a program of torch.export, for any number of samples at a time.

    Args:
        model: The network; handed back as it was.
        batch: One batch, as a loader yields it: what the model is traced with.
        path: Ends in .pt2.

    Raises:
        InputError: If torch cannot export this network.
        FileError: If the file cannot be written.
    """
    args, named = call_arguments(model, to_device(batch, device_of(model)))
    n_samples = getattr(torch.export.Dim, "AUTO", None) or torch.export.Dim("n_samples")  # torch 2.5 has no AUTO
    arguments = [{0: n_samples} if isinstance(value, Tensor) else None for value in (*args, *named.values())]
    shapes: Any = dict(zip(named, arguments, strict=True)) if named else tuple(arguments)
    with evaluating(model), preserved_rng([device_of(model)]), torch.no_grad():
        try:
            program = torch.export.export(model, args, named, dynamic_shapes=shapes)
        except Exception as error:  # tracing raises whatever the model's code meets
            got = f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__
            raise InputError(message(f"export {path}", "a network that torch.export can trace", got)) from error
    program.example_inputs = None  # a user's data do not belong into the file
    return write_atomically(path, lambda temporary: torch.export.save(program, temporary))
