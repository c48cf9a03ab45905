"""Layers as two smaller ones: W x -> (W D)(E x), for inputs projected on k directions, x -> mean + D E (x - mean).

What comes out is made of torch's own modules, so that it trains, saves and exports without this package.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from svcca.core.directions import Projection
from svcca.errors import InputError, message

Layer = nn.Linear | nn.Conv2d
SLIDING = ("stride", "padding", "dilation", "padding_mode")
"""How a convolution moves over its maps."""


def as_layer(module: nn.Module) -> Layer:
    """Cast a module that has been checked to be a linear layer or convolution."""
    assert isinstance(module, (nn.Linear, nn.Conv2d)), "checked when the layers were chosen"
    return module


def n_groups(layer: Layer) -> int:
    """Groups of inputs that are projected each by itself: 1, or those of a grouped convolution."""
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def n_inputs(layer: Layer) -> int:
    """Inputs of a group: features, or channels."""
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels // layer.groups


def carries_constant(layer: Layer) -> bool:
    """Return whether the factors of a convolution need a constant channel: it pads with zeros."""
    return isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and layer.padding not in (0, (0, 0), "valid")


def weights_at(layer: Layer, rank: int) -> int:
    """Weights of the two factors of a layer with so many directions a group."""
    constant = 0
    if carries_constant(layer):
        assert isinstance(layer, nn.Conv2d), "only convolutions do"
        constant = layer.out_channels * math.prod(layer.kernel_size) + layer.in_channels
    return rank * cost_of_rank(layer) + constant


def cost_of_rank(layer: Layer) -> int:
    """Weights that each kept direction takes, over all groups."""
    taps = 1 if isinstance(layer, nn.Linear) else math.prod(layer.kernel_size)
    n_outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return n_inputs(layer) * n_groups(layer) + n_outputs * taps


def weight_by_group(layer: Layer) -> Tensor:
    """The weights as they meet the inputs, (groups, outputs of a group x taps, inputs of a group), float64."""
    weight = _weight(layer)
    if isinstance(layer, nn.Linear):
        return weight[None]
    grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])  # (groups, outputs, inputs, height, width)
    return grouped.transpose(1, 2).flatten(2).transpose(1, 2)


def factorised(layer: Layer, projections: Sequence[Projection]) -> nn.Sequential:
    """Build the layer that gives for x what `layer` gives for its projection.

    A convolution that pads with zeros pads the projected maps, not the mean beside them: a constant channel a group
    carries the mean up to the border, where it is not the same at every position.

    Args:
        layer: A linear layer, or a convolution, grouped or not.
        projections: Of the inputs of each group, all of one rank.

    Returns:
        Two layers in the dtype and on the device of the first, in its training mode.
    """
    new = _linear(layer, projections[0]) if isinstance(layer, nn.Linear) else _convolution(layer, projections)
    return new.to(layer.weight).train(layer.training)


def _linear(layer: nn.Linear, projection: Projection) -> nn.Sequential:
    mean, encoder, decoder = _parts(projection)
    weight = _weight(layer)
    first = _empty(nn.Linear, layer.in_features, projection.rank, bias=False, dtype=torch.float64)
    second = _empty(nn.Linear, projection.rank, layer.out_features, dtype=torch.float64)
    _fill(first, encoder.T)
    _fill(second, weight @ decoder.T, _bias(layer) + weight @ _offset(mean, encoder, decoder))
    return nn.Sequential(first, second)


def _convolution(layer: nn.Conv2d, projections: Sequence[Projection]) -> nn.Sequential:
    k, groups = projections[0].rank, layer.groups
    constant = carries_constant(layer)
    width = k + constant
    options = {name: getattr(layer, name) for name in SLIDING}
    shape: dict[str, Any] = {"groups": groups, "dtype": torch.float64}
    first = _empty(nn.Conv2d, layer.in_channels, groups * width, 1, bias=constant, **shape)
    second = _empty(nn.Conv2d, groups * width, layer.out_channels, layer.kernel_size, **shape, **options)
    weight = _weight(layer).reshape(groups, -1, *layer.weight.shape[1:])
    encoders = torch.zeros(groups, width, n_inputs(layer), dtype=torch.float64)
    weights = torch.zeros(groups, weight.shape[1], width, *layer.kernel_size, dtype=torch.float64)
    offsets = []
    for number, projection in enumerate(projections):
        mean, encoder, decoder = _parts(projection)
        encoders[number, :k] = encoder.T
        weights[number, :, :k] = torch.einsum("ochw,kc->okhw", weight[number], decoder)
        offset = torch.einsum("ochw,c->ohw", weight[number], _offset(mean, encoder, decoder))
        if constant:
            weights[number, :, k] = offset
        offsets.append(offset.sum(dim=(1, 2)))
    ones = torch.tensor([0.0] * k + [1.0]).repeat(groups)
    _fill(first, encoders.reshape(first.weight.shape), ones if constant else None)
    _fill(second, weights.reshape(second.weight.shape), _bias(layer) + (0.0 if constant else torch.cat(offsets)))
    return nn.Sequential(first, second)


def folded(before: nn.Linear, factors: nn.Sequential) -> tuple[nn.Linear, nn.Linear]:
    """Take the first factor into the linear layer that feeds it, with nothing between: both become smaller.

    Returns:
        The layer before with k outputs, and the second factor.
    """
    first, second = factors
    assert isinstance(first, nn.Linear), "linear layers have linear factors"
    assert isinstance(second, nn.Linear), "linear layers have linear factors"
    has_bias = before.bias is not None
    new = _empty(nn.Linear, before.in_features, first.out_features, bias=has_bias, dtype=torch.float64)
    encoder = _weight(first)
    _fill(new, encoder @ _weight(before), encoder @ _bias(before) if has_bias else None)
    return new.to(before.weight).train(before.training), second


def shaped_as(layer: Layer, weight: Tensor, *, bias: bool, pointwise: bool = False) -> Layer:
    """Build a layer without values for a weight of another shape than this one's.

    Args:
        layer: Gives kind, dtype, device and mode; of a convolution, groups and (unless it is pointwise) how it slides.
        weight: As the new layer's.
        bias: Whether it has one.
        pointwise: Whether it is the first factor of a convolution.
    """
    options: dict[str, Any] = {"bias": bias, "dtype": layer.weight.dtype, "device": layer.weight.device}
    if isinstance(layer, nn.Linear):
        new = _empty(nn.Linear, weight.shape[1], weight.shape[0], **options)
    else:
        if not pointwise:
            options |= {name: getattr(layer, name) for name in SLIDING}
        sizes = (weight.shape[1] * layer.groups, weight.shape[0], tuple(weight.shape[2:]))
        new = _empty(nn.Conv2d, *sizes, groups=layer.groups, **options)
    return as_layer(new.train(layer.training))


def check_compressible(name: str, layer: nn.Module) -> Layer:
    """Return the layer, if it is one of those that can be factorised.

    Raises:
        InputError: For any other module, with the reason.
    """
    where = f"compress {name!r}"
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        quantised = "quant" in type(layer).__module__
        cause = "Quantised weights cannot be factorised" if quantised else ""
        remedy = "Compress before quantisation" if quantised else "Name the layers inside it"
        raise InputError(message(where, "a Linear or Conv2d layer", type(layer).__name__, cause, remedy))
    if isinstance(layer, nn.Conv2d) and n_inputs(layer) == 1:
        cause = "Each output channel sees one input channel: there is nothing to project"
        raise InputError(message(where, "more than one input channel a group", "a depthwise convolution", cause))
    if layer.weight.is_meta or not layer.weight.is_floating_point():
        got = "weights without values" if layer.weight.is_meta else f"weights of {layer.weight.dtype}"
        raise InputError(message(where, "floating-point weights", got))
    return layer


def _empty(kind: type[nn.Module], *sizes: Any, **options: Any) -> Any:
    """Build a layer without values: filling it with random ones would disturb the user's random state."""
    return skip_init(kind, *sizes, **options)  # type: ignore[no-untyped-call]


def _fill(layer: Layer, weight: Tensor, bias: Tensor | None = None) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            assert layer.bias is not None, "built with one"
            layer.bias.copy_(bias)


def _parts(projection: Projection) -> tuple[Tensor, Tensor, Tensor]:
    mean, encoder, decoder = (part.double().cpu() for part in (projection.mean, projection.encoder, projection.decoder))
    return mean, encoder, decoder


def _offset(mean: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
    """What a projection adds whatever the input: (1 - D E) mean."""
    return mean - decoder.T @ (encoder.T @ mean)


def _weight(layer: Layer) -> Tensor:
    return layer.weight.detach().double().cpu()


def _bias(layer: Layer) -> Tensor:
    if layer.bias is None:
        return torch.zeros(layer.weight.shape[0], dtype=torch.float64)
    return layer.bias.detach().double().cpu()
