"""Moments of what a layer is given, alone or together with a target, over all samples of the data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from svcca.capture.batches import Forward, attention_mask, batch_size, call, device_of, to_device
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.capture.layers import tensors_in
from svcca.compress.factors import Layer, as_layer, n_groups
from svcca.core.arrays import check_finite
from svcca.core.moments import JointMoments, Moments
from svcca.errors import InputError, message
from svcca.progress import track

Target = Callable[[Collection[str], Any, int], Mapping[str, Tensor]]
"""Gives for layers and a batch a row a sample, or a row a row of the layer, each: target(names, batch, number)."""

KEPT_BYTES = 2**28
"""Of a network's output that are kept from one pass over the data to the next; for batches beyond, it is run again."""

WIDEST_TARGET = 4096
"""Columns of a target above which its own moments take more than they give."""


def input_moments(
    model: nn.Module,
    names: Collection[str],
    data: Iterable[Any],
    target: Target | None,
    forward: Forward | None,
    progress: bool | None,
) -> dict[str, JointMoments]:
    """Run every batch through a model and fold what layers are given.

    A linear layer is given a row a sample, or a token; a convolution a row a position. Where a sample has several rows,
    its target counts for each of them; masked tokens do not count.

    Args:
        model: The network; run in evaluation mode without gradients, and handed back as it was.
        names: Of linear layers and convolutions.
        data: Batches.
        target: What the layers are to be held against; None: the layers alone, y being one constant.
        forward: The user's own forward(model, batch).
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        Moments of x, the layer's inputs, and y, the target, by layer, in order of execution.

    Raises:
        InputError: If a layer does not run once in each forward pass, or its rows do not go with the target's.
        NonFiniteError: For NaN or infinity in what it is given.
    """
    layers = {name: as_layer(model.get_submodule(name)) for name in names}
    moments: dict[str, JointMoments] = {}
    title = "Inputs" if len(names) > 1 else f"Inputs of {next(iter(names))}"
    with preserved_rng([device_of(model)]), torch.no_grad():
        for number, batch in enumerate(track(data, title, progress)):
            place = f"batch {number}"
            on_device = to_device(batch, device_of(model))
            given = inputs_of(model, names, on_device, forward, place)
            wanted = None if target is None else target(names, on_device, number)
            for name, rows in given.items():
                where = f"compress {name!r}, {place}"
                check_finite(rows, where)
                columns = None if wanted is None else wanted[name]
                piece = _joint(rows, columns, _kept(rows, batch), batch_size(batch, where), where)
                moments[name] = moments[name].merge(piece) if name in moments else piece
    return {name: moments[name] for name in layers}


def inputs_of(
    model: nn.Module, names: Collection[str], batch: Any, forward: Forward | None, place: str
) -> dict[str, Tensor]:
    """Run a batch and give the rows that layers are given, by name.

    Raises:
        InputError: If a layer does not run exactly once.
    """
    given: dict[str, list[Tensor]] = {name: [] for name in names}

    def keeping(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], dict[str, Tensor]], None]:
        return lambda module, args, named: given[name].append((*args, *named.values())[0].detach().clone())

    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        for name in names:
            hook = model.get_submodule(name).register_forward_pre_hook(keeping(name), with_kwargs=True)
            stack.callback(hook.remove)
        call(model, batch, forward)
    for name, tensors in given.items():
        if len(tensors) != 1:
            got = str(len(tensors)) if tensors else "none: its path through its layers depends on the batch"
            expected = f"one run of {name!r} in a forward pass"
            raise InputError(message(f"compress {type(model).__name__}, {place}", expected, got))
    return {name: _rows(tensors[0], as_layer(model.get_submodule(name))) for name, tensors in given.items()}


def group_moments(moments: JointMoments, layer: Layer) -> list[JointMoments]:
    """Give the moments of each group's inputs with the target, for a grouped convolution; else the one there is."""
    width = moments.x.n_features // n_groups(layer)
    parts = [slice(start, start + width) for start in range(0, moments.x.n_features, width)]
    return [
        JointMoments(
            Moments(
                moments.n_samples,
                moments.x.mean[part],
                moments.x.scatter[part, part],
                moments.x.source_eps,
                moments.x.product_eps,
            ),
            moments.y,
            moments.cross_scatter[part],
        )
        for part in parts
    ]


def logits_of_model(model: nn.Module, forward: Forward | None) -> Target:
    """Give a model's own output as the target of every layer.

    It is kept, since layers are measured one after the other on the same batches.
    """
    kept: dict[int, Tensor] = {}

    def logits(names: Collection[str], batch: Any, number: int) -> dict[str, Tensor]:
        output = kept.get(number)
        if output is None:
            output = _output_of(model, batch, forward, f"batch {number}")
            if sum(each.nbytes for each in (*kept.values(), output)) <= KEPT_BYTES:
                kept[number] = output
        return dict.fromkeys(names, output)

    return logits


def _output_of(model: nn.Module, batch: Any, forward: Forward | None, place: str) -> Tensor:
    with evaluating(model):
        output = next((tensor for _, tensor in tensors_in(call(model, batch, forward))), None)
    if output is None or output.ndim < 2:
        got = "no tensor" if output is None else f"shape {tuple(output.shape)}"
        expected = "an output (n_samples, ..., n_logits)"
        raise InputError(message(f"compress {type(model).__name__}, {place}", expected, got))
    return output


def inputs_in(other: nn.Module, forward: Forward | None) -> Target:
    """Give what the layers of the same names are given in another model as their targets."""

    def inputs(names: Collection[str], batch: Any, number: int) -> dict[str, Tensor]:
        return inputs_of(other, names, to_device(batch, device_of(other)), forward, f"batch {number}")

    return inputs


def _rows(given: Tensor, layer: Layer) -> Tensor:
    """Rows of what a layer is given: positions of maps, tokens or samples."""
    if isinstance(layer, nn.Conv2d):
        maps = given if given.ndim == 4 else given[None]
        return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
    return given.reshape(-1, given.shape[-1])


def _kept(rows: Tensor, batch: Any) -> Tensor | None:
    """Which rows are real tokens, where the batch says so and there is one row a token."""
    mask = attention_mask(batch)
    return mask.to(rows.device).flatten() if mask is not None and mask.numel() == len(rows) else None


def _joint(rows: Tensor, columns: Tensor | None, kept: Tensor | None, n_samples: int, where: str) -> JointMoments:
    if columns is None:
        columns = rows.new_zeros(len(rows), 1)
    else:
        columns = columns.reshape(-1, columns.shape[-1]).to(rows.device)
        if columns.shape[1] > WIDEST_TARGET:
            expected, remedy = f"a target of at most {WIDEST_TARGET:,} columns", "Pass against='pca'"
            raise InputError(message(where, expected, f"{columns.shape[1]:,}", "", remedy))
        if len(columns) == n_samples and len(rows) % n_samples == 0:
            columns = columns.repeat_interleave(len(rows) // n_samples, dim=0)
    if len(columns) != len(rows):
        cause = "The target has a row a token or a position, the layer another number of them"
        got = f"{len(rows)} and {len(columns)} for {n_samples} samples"
        raise InputError(message(where, "as many rows from the layer and its target", got, cause, "Pass against='pca'"))
    if kept is not None:
        rows, columns = rows[kept], columns[kept]
    return JointMoments.from_rows(rows, columns)
