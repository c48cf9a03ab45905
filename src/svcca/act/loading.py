"""Weights of a compressed network into a fresh one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from svcca.act.factors import shaped_as
from svcca.act.placing import replace
from svcca.capture.checkpoints import load_state, read_state
from svcca.capture.layers import unwrap
from svcca.files import PathLike


def load_compressed(model: nn.Module, state: PathLike | Mapping[str, Tensor]) -> nn.Module:
    """Give a network with the weights of one that `compress` gave: its layers are split as the weights tell.

    Args:
        model: The network as it was before it was compressed; left as it is.
        state: state_dict() of the compressed one, or a file of it: .pt (read with weights_only), .safetensors.

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
    for name, layer in list(new.named_modules()):
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            continue
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
