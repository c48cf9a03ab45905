"""Restrict the output of layers to their first k directions while a block of code runs: `project`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from svcca.capture.layers import map_tensors, named_layers, tensors_in, unmatched, unwrap
from svcca.core.directions import Form
from svcca.errors import InputError, LayerError, message
from svcca.project.directions import LayerDirections


@contextmanager
def project(
    model: nn.Module,
    layer: str | Mapping[str, tuple[LayerDirections, int]],
    directions: LayerDirections | None = None,
    k: int | None = None,
    form: Form = "data",
) -> Iterator[nn.Module]:
    """Restrict a layer's output to k directions in every forward pass within a `with` block.

    The output x becomes mean + (x - mean) P with P of rank k: the mean stays. What was done is undone at the end of the
    block, after an exception too; parameters and buffers are never touched. Gradients flow through the projection. It
    is computed in at least float32 and given back in the output's dtype.

    Args:
        model: The model.
        layer: Name of the layer, or several at once as a mapping from name to (directions, k).
        directions: Directions of that layer, from `svcca.directions`.
        k: How many to keep, from 0 (the mean alone) to the layer's width (everything).
        form: "data" (default) gives every sample what its k coordinates tell of it by least squares over the samples
            the directions were found on: X -> H H^T X for the orthonormal coordinates H of the samples, that is
            x -> x W W^T S for canonical directions W and scatter S. "orthonormal" projects at right angles on the span
            of the k directions. For principal directions and neurons the two are the same.

    Yields:
        The model.

    Raises:
        LayerError: For a layer that is not there; at the end, for one that never ran while the model did.
        InputError: For a k outside of the range, directions of another layer, an output they do not fit.
        UnknownOptionError: For another form.

    Cost:
        A forward pass takes 4 n p min(k, p / 2) operations more for n rows of p features.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), figure 2.

    >>> import svcca
    >>> net, x = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)), torch.randn(200, 6)
    >>> found = svcca.directions(net, x, "0", against="logits")
    >>> with project(net, "0", found, k=8):
    ...     whole = net(x)
    >>> torch.allclose(whole, net(x), atol=1e-5)
    True
    """
    if isinstance(layer, Mapping):
        if directions is not None or k is not None:
            expected = "a mapping from layer to (directions, k), or a layer, its directions and k"
            raise InputError(message("project", expected, "both"))
        wanted = dict(layer)
    else:
        if directions is None or k is None:
            missing = "directions" if directions is None else "k"
            raise InputError(message("project", "a layer with directions and k", f"no {missing} for {layer!r}"))
        wanted = {layer: (directions, k)}
    restrictions = {name: Restriction(name, *given, form) for name, given in wanted.items()}
    with restricted(model, restrictions):
        yield model


class Restriction:
    """A forward hook that puts a projection in place of a layer's output.

    Args:
        layer: Name of the layer.
        directions: Directions of it.
        k: How many are kept.
        form: How it is projected.
        units: Which units are kept afterwards, (n_features,) bool; the others are set to their mean. None keeps all.

    Raises:
        InputError: For directions of another layer, or a k outside of the range.
    """

    def __init__(
        self, layer: str, directions: LayerDirections, k: int, form: Form = "data", units: Tensor | None = None
    ) -> None:
        if not isinstance(directions, LayerDirections):
            expected = "what svcca.directions returns"
            raise InputError(message(f"project {layer!r}, directions", expected, type(directions).__name__))
        if directions.layer != layer:
            remedy = "Find directions of this layer"
            raise InputError(
                message(f"project {layer!r}", "directions of that layer", f"those of {directions.layer!r}", "", remedy)
            )
        self.layer = layer
        self.calls = 0
        self._observation, self._shape = directions.observation, directions.shape
        projection = directions.projection(k, form)
        mean, n_features = projection.mean, directions.n_features
        if 2 * k > n_features:  # what is taken away has the lower rank, and is nothing at all for all directions
            identity = torch.eye(n_features, dtype=mean.dtype, device=mean.device)
            factors = [identity - projection.encoder @ projection.decoder] if k < n_features else []
            self._complement = True
        else:
            factors, self._complement = [projection.encoder, projection.decoder], False
        self._constants = {"mean": mean} | {f"factor {i}": factor for i, factor in enumerate(factors)}
        if units is not None:
            self._constants["units"] = units
        self._cast: dict[tuple[torch.device, torch.dtype], dict[str, Tensor]] = {}

    def __call__(self, module: nn.Module, inputs: object, output: object) -> object:
        """Return the output with its tensor projected."""
        self.calls += 1
        wanted = self.layer.partition(":")[2]
        found = dict(tensors_in(output))
        path = wanted or next(iter(found), "")
        if path not in found:
            got = f"tensors {', '.join(map(repr, found))}" if found else type(output).__name__
            raise LayerError(message(f"project {self.layer!r}", "an output with that tensor", got))
        old, new = found[path], self._projected(found[path])
        return map_tensors(output, lambda tensor: new if tensor is old else tensor)

    def _projected(self, output: Tensor) -> Tensor:
        self._check(output)
        wide = torch.promote_types(output.dtype, torch.float32)
        key = (output.device, wide)
        if key not in self._cast:
            self._cast[key] = {
                name: part.to(output.device, part.dtype if part.dtype == torch.bool else wide)
                for name, part in self._constants.items()
            }
        constants = self._cast[key]
        with torch.autocast(output.device.type, enabled=False):
            rows = output.to(wide)
            if self._observation == "pixels":  # features along the first axis: from the left, so that maps stay maps
                new = self._restrict(rows.flatten(2).mT, constants).mT
            elif self._observation == "flatten":
                new = self._restrict(rows.flatten(1), constants)
            else:
                new = self._restrict(rows, constants)
        return new.reshape(output.shape).to(output.dtype).contiguous()

    def _restrict(self, rows: Tensor, constants: Mapping[str, Tensor]) -> Tensor:
        mean = constants["mean"]
        factors = [part for name, part in constants.items() if name.startswith("factor")]
        if self._complement:
            new = rows - (rows - mean) @ factors[0] if factors else rows
        else:
            new = mean + ((rows - mean) @ factors[0]) @ factors[1]
        return torch.where(constants["units"], new, mean) if "units" in constants else new

    def _check(self, output: Tensor) -> None:
        """Raise InputError unless the output is what the directions were found on."""
        n_features = math.prod(self._shape)
        if self._observation == "flatten":
            fits = output.ndim > 0 and tuple(output.shape[1:]) == self._shape
            shape = ", ".join(["n_samples", *map(str, self._shape)])
        elif self._observation == "pixels":
            fits, shape = output.ndim > 2 and output.shape[1] == n_features, f"n_samples, {n_features}, *positions"
        else:
            fits, shape = output.ndim == 3 and output.shape[2] == n_features, f"n_samples, n_tokens, {n_features}"
        if not fits:
            expected = f"an output ({shape}), as the directions were found on by {self._observation!r}"
            got = f"shape {tuple(output.shape)}"
            cause = "They are of another layer's width, or of another rule"
            raise InputError(message(f"project {self.layer!r}", expected, got, cause))


@contextmanager
def restricted(model: nn.Module, restrictions: Mapping[str, Restriction]) -> Iterator[None]:
    """Hook restrictions on layers, by name, while a block runs.

    Raises:
        LayerError: For a layer that is not there; at the end, for one that never ran while the model did.
    """
    modules = named_layers(unwrap(model))
    places = {name: name.partition(":")[0] for name in restrictions}
    missing = [name for name, place in places.items() if place not in modules]
    if missing:
        raise unmatched(f"project, layers of {type(model).__name__}", missing, list(modules))
    runs: list[None] = []
    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(lambda *_: runs.append(None)).remove)
        for name, restriction in restrictions.items():
            stack.callback(modules[places[name]].register_forward_hook(restriction).remove)
        yield
    idle = [name for name, restriction in restrictions.items() if runs and not restriction.calls]
    if idle:
        got = f"none of {', '.join(map(repr, idle))}"
        cause = "The forward pass leaves it out, or the model was compiled or traced before"
        raise LayerError(message("project", "a call of every layer while the model ran", got, cause))
