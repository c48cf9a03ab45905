"""Each layer of a network beside what stands in its place in the smaller one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from svcca.compress.factors import Layer, as_layer, carries_constant
from svcca.errors import InputError, message


@dataclass(frozen=True)
class CompressedLayer:
    """A linear layer or convolution of a network, before and after.

    Attributes:
        name: Of the layer.
        kind: "Linear" or "Conv2d".
        inputs: Features, or channels.
        outputs: Likewise.
        directions: Directions of its inputs that are kept, of each group's for a grouped convolution; None where it
            sees them whole.
        weights_before: Its weights, without the bias.
        weights_after: Those of what stands in its place, likewise. A layer that is whole has fewer where it took in
            the first factor of the layer that it feeds.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    directions: int | None
    weights_before: int
    weights_after: int


def corresponding_layers(model: nn.Module, smaller: nn.Module) -> tuple[CompressedLayer, ...]:
    """Match every linear layer and convolution of a network with what stands in its place in a smaller one.

    Raises:
        InputError: If something else does, or the other modules are not the same.
    """
    where = f"compression_report of {type(model).__name__}"
    remedy = "Pass what compress gave of this model"
    before, after = dict(model.named_modules()), dict(smaller.named_modules())
    layers = {name: as_layer(module) for name, module in before.items() if isinstance(module, (nn.Linear, nn.Conv2d))}
    factors = {f"{name}.{i}" for name in layers if isinstance(after.get(name), nn.Sequential) for i in (0, 1)}
    strangers = sorted(set(before) ^ (set(after) - factors))
    if strangers:
        got, place = repr(strangers[0]), "one" if strangers[0] in before else "the smaller"
        raise InputError(message(where, "the same modules in both", f"{got} in {place} alone", "", remedy))
    for name, module in before.items():
        if name not in layers and type(module) is not type(after[name]):
            got = f"{type(module).__name__} and {type(after[name]).__name__}"
            raise InputError(message(where, f"the same kind of module as {name or 'the whole'!r}", got, "", remedy))
    rows = []
    for name, layer in layers.items():
        place = after[name]
        parts = [place] if not isinstance(place, nn.Sequential) else list(place)
        kind = nn.Linear if isinstance(layer, nn.Linear) else nn.Conv2d
        if not 1 <= len(parts) <= 2 or not all(isinstance(part, kind) for part in parts):
            got = type(place).__name__ + (f" of {len(parts)}" if isinstance(place, nn.Sequential) else "")
            raise InputError(message(where, f"a {kind.__name__} or two of them as {name!r}", got, "", remedy))
        rows.append(_row(name, layer, [as_layer(part) for part in parts], where))
    return tuple(rows)


def _row(name: str, layer: Layer, parts: list[Layer], where: str) -> CompressedLayer:
    (n_in, n_out), (first_in, first_out), (_, last_out) = (_widths(each) for each in (layer, parts[0], parts[-1]))
    directions: int | None = None
    if len(parts) == 2:
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        directions = first_out // groups - carries_constant(layer)
    elif first_in != n_in:
        directions = first_in  # the layer before took the first factor in
    fits = (first_in == n_in or (len(parts) == 1 and first_in < n_in)) and last_out <= n_out
    if not fits:
        expected, got = f"{name!r} of {n_in} inputs and {n_out} outputs at most", f"{first_in} and {last_out}"
        raise InputError(message(where, expected, got, "", "Pass what compress gave of this model"))
    weights = sum(part.weight.numel() for part in parts)
    kind = "Linear" if isinstance(layer, nn.Linear) else "Conv2d"
    return CompressedLayer(name, kind, n_in, n_out, directions, layer.weight.numel(), weights)


def _widths(layer: Layer) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels
