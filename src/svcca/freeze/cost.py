"""What training costs: steps, seconds and floating-point operations, by the number of frozen blocks."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import nn

from svcca.capture.batches import device_of
from svcca.capture.flops import counting_flops
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.capture.layers import tensors_in

TIMED_STEPS = 1000
"""Number of steps of a phase that are timed; their median is not moved by pauses between steps."""

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of a call of a model: positional and keyword."""


@dataclass
class Phase:
    """Steps of training during which the same blocks were frozen.

    Attributes:
        n_frozen: Number of frozen blocks.
        n_steps: Number of steps.
        seconds: Time of each of the first steps.
    """

    n_frozen: int
    n_steps: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def seconds_per_step(self) -> float:
        """Median time of a step; NaN if none was timed."""
        return statistics.median(self.seconds) if self.seconds else float("nan")


class Clock:
    """Count and time the steps of each phase, and what freezing itself takes.

    Attributes:
        phases: Phases by their number of frozen blocks.
        overhead_seconds: Time that was no training: snapshots.
        overhead_flops: Floating-point operations of that.
    """

    def __init__(self) -> None:
        self.phases: dict[int, Phase] = {}
        self.overhead_seconds = 0.0
        self.overhead_flops = 0.0
        self._started: float | None = None
        self._inside = 0.0

    def finish_step(self, n_frozen: int) -> None:
        """Count a step that ends now."""
        phase = self.phases.setdefault(n_frozen, Phase(n_frozen))
        phase.n_steps += 1
        if self._started is not None and len(phase.seconds) < TIMED_STEPS:
            phase.seconds.append(perf_counter() - self._started - self._inside)

    def start_step(self) -> None:
        """Begin the next step now."""
        self._started, self._inside = perf_counter(), 0.0

    @contextmanager
    def overhead(self) -> Iterator[None]:
        """Time what is no training: it counts against the savings, and not as part of a step."""
        start = perf_counter()
        try:
            yield
        finally:
            seconds = perf_counter() - start
            self.overhead_seconds += seconds
            self._inside += seconds

    def state_dict(self) -> dict[str, Any]:
        """Return the counts so far."""
        return {
            "phases": [asdict(phase) for phase in self.phases.values()],
            "overhead_seconds": self.overhead_seconds,
            "overhead_flops": self.overhead_flops,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the counts that `state_dict` returned."""
        phases = [Phase(**plain) for plain in state["phases"]]
        self.phases = {phase.n_frozen: phase for phase in phases}
        self.overhead_seconds, self.overhead_flops = state["overhead_seconds"], state["overhead_flops"]


def training_flops(model: nn.Module, call: Call, frozen: Collection[str], learned: Collection[nn.Parameter]) -> float:
    """Count the floating-point operations of one forward and backward pass with some parameters frozen.

    torch's own counter sees matrix products, convolutions and attention, forward and backward. The model runs in
    evaluation mode on a batch that it has seen, and is left as it was; its gradients are not touched.

    Args:
        model: Network, without wrappers.
        call: Arguments of a call of it.
        frozen: Names of the parameters to count as frozen.
        learned: Parameters that are frozen now, but count as learning unless they are among those.

    Returns:
        Number of operations; NaN if this model's backward pass does not run in evaluation mode.
    """
    args, keywords = call
    again = {id(parameter) for parameter in learned}
    learning = {
        id(parameter): parameter
        for name, parameter in model.named_parameters()
        if name not in frozen and (parameter.requires_grad or id(parameter) in again)
    }
    with evaluating(model), preserved_rng([device_of(model)]), _gradients_of(model, learning):
        try:
            with torch.enable_grad(), counting_flops(device_of(model)) as counter:
                outputs = [tensor for _, tensor in tensors_in(model(*args, **keywords)) if tensor.requires_grad]
                totals = [tensor.abs().sum() for tensor in outputs]
                torch.autograd.grad(totals, list(learning.values()), allow_unused=True)
        except RuntimeError:  # cuDNN's recurrent layers, for one
            return float("nan")
    return float(counter.get_total_flops())


@contextmanager
def _gradients_of(model: nn.Module, learning: Collection[int]) -> Iterator[None]:
    """Require gradients of these parameters only, and afterwards of the same as before."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in learning)
        yield
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag)
