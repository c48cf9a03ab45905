"""Layers in their network: which run, in what order, what feeds what, and putting another in the place of one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import fx, nn

from svcca.capture.batches import Forward, call, device_of, to_device
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.compress.factors import folded
from svcca.errors import InputError, message


def layers_in_order(model: nn.Module, batch: Any, forward: Forward | None) -> list[str]:
    """Names of the linear layers and convolutions that run once in a forward pass, in order of execution."""
    calls: dict[str, int] = {}
    names: dict[nn.Module, str] = {
        module: name for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))
    }

    def count(module: nn.Module, inputs: object) -> None:
        calls[names[module]] = calls.get(names[module], 0) + 1

    handles = [module.register_forward_pre_hook(count) for module in names]
    try:
        with evaluating(model), preserved_rng([device_of(model)]), torch.no_grad():
            call(model, to_device(batch, device_of(model)), forward)
    finally:
        for handle in handles:
            handle.remove()
    return [name for name, n_calls in calls.items() if n_calls == 1]


def shared_with(model: nn.Module, name: str) -> list[str]:
    """Names of the weights elsewhere in the model that are this layer's own."""
    own = {id(parameter) for parameter in model.get_submodule(name).parameters()}
    return [
        other
        for other, parameter in model.named_parameters(remove_duplicate=False)
        if id(parameter) in own and not other.startswith(f"{name}.")
    ]


def check_unshared(model: nn.Module, name: str) -> None:
    """Raise InputError if the layer, or a weight of it, stands in another place of the model too."""
    others = shared_with(model, name)
    if others:
        cause = "Compressing one would untie the other"
        remedy = "Leave it out, or give it weights of its own first"
        raise InputError(
            message(f"compress {name!r}", "weights of its own", f"weights shared with {others[0]!r}", cause, remedy)
        )


def direct_feeds(model: nn.Module) -> dict[str, str]:
    """Which linear layer is fed by which other with nothing between, where that one does nothing else; by torch.fx.

    A layer that runs twice, or whose weights are used elsewhere, does more than feed one: it is left whole. Networks
    that fx cannot trace have none that are known.
    """
    try:
        graph = fx.symbolic_trace(model).graph
    except Exception:  # a forward that depends on data or shapes raises anything
        return {}
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    uses = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    uses.update(str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr")
    found = {}
    for node in graph.nodes:
        source = node.args[0] if node.op == "call_module" and node.target in linear and node.args else None
        while isinstance(source, fx.Node) and source.op == "call_module" and len(source.users) == 1:
            if source.target in linear:
                if uses[str(source.target)] == 1 and not shared_with(model, str(source.target)):
                    found[str(node.target)] = str(source.target)
                break
            if not isinstance(model.get_submodule(str(source.target)), nn.Identity):
                break
            source = source.args[0]
    return found


def put(model: nn.Module, name: str, factors: nn.Sequential, feeding: str | None) -> None:
    """Put two factors in a layer's place; where a linear layer feeds it directly, the first goes into that one.

    Args:
        model: Changed in place.
        name: Of the layer.
        factors: What takes its place.
        feeding: Name of the linear layer before, which may have been factorised itself.
    """
    if feeding is None:
        replace(model, name, factors)
        return
    before, place = model.get_submodule(feeding), feeding
    if isinstance(before, nn.Sequential):
        before, place = before[1], f"{feeding}.1"
    assert isinstance(before, nn.Linear), "direct_feeds looked"
    new, second = folded(before, factors)
    replace(model, place, new)
    replace(model, name, second)


def replace(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of another, in place."""
    path, _, last = name.rpartition(".")
    parent = model.get_submodule(path)
    if isinstance(parent, nn.TransformerEncoderLayer):
        parent.activation_relu_or_gelu = 0  # its fast path reads the weights of its linear layers, not their outputs
    setattr(parent, last, module)
