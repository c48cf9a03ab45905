"""What a network and its smaller self take: weights by layer, bytes, operations, time; measured side by side."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from svcca.capture.batches import Forward, batch_size, call, device_of, to_device
from svcca.capture.evaluations import Evaluate, measured
from svcca.capture.flops import counting_flops
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.capture.layers import unwrap
from svcca.compress.compression_report import CompressedLayer, CompressionReport, NetworkCost
from svcca.compress.factors import Layer, as_layer, carries_constant
from svcca.core.arrays import from_numpy
from svcca.errors import InputError, message

WARM_UPS = 2
"""Forward passes before the first that is timed: memory is mapped then, and kernels are chosen."""


def compression_report(
    model: nn.Module,
    smaller: nn.Module,
    batch: Any,
    *,
    evaluate: Evaluate | None = None,
    forward: Forward | None = None,
    repeats: int = 20,
) -> CompressionReport:
    """Measure what compression bought: parameters, memory, operations, time and accuracy, before and after.

    Both networks are run in evaluation mode without gradients and handed back as they were. They take turns at forward
    passes, so that whatever else the machine does falls on both.

    Args:
        model: The network as it was.
        smaller: What `compress` gave of it, trained further or not, or `load_compressed`.
        batch: One batch, as a loader yields it: what operations are counted and time is measured on.
        evaluate: evaluate(model) -> float, higher is better; called on both in evaluation mode. None: not measured.
        forward: Your own way to run the model: forward(model, batch).
        repeats: Forward passes of each that are timed; their median counts.

    Returns:
        A `CompressionReport`: a row a layer, totals, ratios; it prints, saves and loads.

    Raises:
        InputError: If the modules of the two do not correspond, they are on different devices, `evaluate` gives no
            finite number, or `repeats` is less than 1.
        SampleError: If the batch holds no sample.

    Cost:
        `repeats` + 3 forward passes of each network, and the two evaluations.

    >>> import svcca, torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64))
    >>> x = torch.randn(1000, 20)
    >>> report = svcca.compression_report(net, svcca.compress(net, x, layers="2", ranks=16), x, repeats=1)
    >>> report.before.parameters, report.after.parameters, report.layers[1].directions
    (5504, 3456, 16)
    """
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise InputError(message("compression_report repeats", "a number of forward passes, at least 1", repr(repeats)))
    before, after = unwrap(model), unwrap(smaller)
    device = device_of(before)
    if device_of(after) != device:
        raise InputError(message("compression_report", "both models on one device", f"{device}, {device_of(after)}"))
    layers = corresponding_layers(before, after)
    if isinstance(batch, np.ndarray):
        batch = from_numpy(batch, "compression_report batch")
    n_samples = batch_size(batch, "compression_report batch")
    pair, batch = (before, after), to_device(batch, device)
    with _as_found(pair, device):
        accuracies = [None if evaluate is None else measured(evaluate, each) for each in pair]
        flops = [forward_flops(each, batch, forward) for each in pair]
        seconds = _seconds(pair, batch, forward, repeats, device)
    costs = [
        NetworkCost(*_size_of(each), n_flops, time, accuracy)
        for each, n_flops, time, accuracy in zip(pair, flops, seconds, accuracies, strict=True)
    ]
    where = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    n_threads, title = torch.get_num_threads(), type(before).__name__
    return CompressionReport(layers, costs[0], costs[1], n_samples, repeats, where, n_threads, title)


def corresponding_layers(model: nn.Module, smaller: nn.Module) -> tuple[CompressedLayer, ...]:
    """Hold every linear layer and convolution of a network against what stands in its place in a smaller one.

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


def _size_of(model: nn.Module) -> tuple[int, int]:
    """Parameters, and bytes of parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return n_parameters(model), sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def n_parameters(model: nn.Module) -> int:
    """Count parameters; shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def forward_flops(model: nn.Module, batch: Any, forward: Forward | None) -> int:
    """Count the floating-point operations of a forward pass."""
    with counting_flops(device_of(model)) as counter:
        call(model, batch, forward)
    return int(counter.get_total_flops())


def _seconds(
    pair: tuple[nn.Module, nn.Module], batch: Any, forward: Forward | None, repeats: int, device: torch.device
) -> list[float]:
    """Median time of a forward pass of each; they take turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(WARM_UPS + repeats):
        for model, found in zip(pair, times, strict=True):
            _synchronise(device)
            start = perf_counter()
            call(model, batch, forward)
            _synchronise(device)
            if number >= WARM_UPS:
                found.append(perf_counter() - start)
    return [statistics.median(found) for found in times]


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _as_found(pair: tuple[nn.Module, nn.Module], device: torch.device) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards modes and the random state are as they were."""
    with ExitStack() as stack:
        for model in pair:
            stack.enter_context(evaluating(model))
        stack.enter_context(preserved_rng([device]))
        stack.enter_context(torch.no_grad())
        yield
