"""What a network takes: parameters, bytes, operations, time; two networks are timed side by side."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import nn

from svcca.capture.batches import Forward, call, device_of
from svcca.capture.evaluations import Evaluate, measured
from svcca.capture.flops import counting_flops
from svcca.capture.hooks import evaluating, preserved_rng

WARM_UPS = 2
"""Forward passes before the first that is timed: memory is mapped then, and kernels are chosen."""


@dataclass(frozen=True)
class NetworkCost:
    """What a network takes, and what it is good for.

    Attributes:
        parameters: How many; shared ones count once.
        bytes: Of parameters and buffers.
        flops: Floating-point operations of a forward pass on the batch: matrix products, convolutions, attention.
        seconds: Median time of a forward pass on the batch.
        accuracy: What the user's evaluate says; None where there was none.
    """

    parameters: int
    bytes: int
    flops: int
    seconds: float
    accuracy: float | None = None


def network_costs(
    pair: tuple[nn.Module, nn.Module],
    batch: Any,
    evaluate: Evaluate | None,
    forward: Forward | None,
    repeats: int,
    device: torch.device,
) -> list[NetworkCost]:
    """Measure two networks side by side; both are handed back as they were."""
    with _as_found(pair, device):
        accuracies = [None if evaluate is None else measured(evaluate, each) for each in pair]
        flops = [forward_flops(each, batch, forward) for each in pair]
        seconds = _seconds(pair, batch, forward, repeats, device)
    return [
        NetworkCost(*_size_of(each), n_flops, time, accuracy)
        for each, n_flops, time, accuracy in zip(pair, flops, seconds, accuracies, strict=True)
    ]


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
