"""Steps, seconds and floating-point operations of training, by how many blocks were frozen."""

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
"""Steps of a phase that are timed; their median is what a step of it takes, whatever pauses lie between steps."""

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""What a model was called with: positional and keyword arguments."""


@dataclass
class Phase:
    """Steps of training during which the same blocks were frozen.

    Attributes:
        n_frozen: How many blocks were.
        n_skipped: How many of them did not even run forward, for their output came from the cache.
        n_steps: How many steps.
        seconds: What each of the first took.
    """

    n_frozen: int
    n_skipped: int
    n_steps: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def seconds_per_step(self) -> float:
        """Median; NaN where no step was timed."""
        return statistics.median(self.seconds) if self.seconds else float("nan")


class Clock:
    """Counts and times the steps of each phase, and what freezing itself takes.

    Attributes:
        phases: By the numbers of frozen and of skipped blocks.
        overhead_seconds: What was no training: snapshots, finding where the prefix ends.
        overhead_flops: Its floating-point operations.
        skipped_flops_per_sample: Operations that the cache saves, by the number of skipped blocks.
    """

    def __init__(self) -> None:
        self.phases: dict[tuple[int, int], Phase] = {}
        self.overhead_seconds = 0.0
        self.overhead_flops = 0.0
        self.skipped_flops_per_sample: dict[int, float] = {}
        self._started: float | None = None
        self._inside = 0.0

    def finish_step(self, n_frozen: int, n_skipped: int) -> None:
        """Count a step that ends now."""
        phase = self.phases.setdefault((n_frozen, n_skipped), Phase(n_frozen, n_skipped))
        phase.n_steps += 1
        if self._started is not None and len(phase.seconds) < TIMED_STEPS:
            phase.seconds.append(perf_counter() - self._started - self._inside)

    def start_step(self) -> None:
        """Begin the next step now."""
        self._started, self._inside = perf_counter(), 0.0

    @contextmanager
    def overhead(self) -> Iterator[None]:
        """Time what is no training: it counts against what is saved, and not as part of a step."""
        start = perf_counter()
        try:
            yield
        finally:
            seconds = perf_counter() - start
            self.overhead_seconds += seconds
            self._inside += seconds

    def state_dict(self) -> dict[str, Any]:
        """Give what was counted so far."""
        return {
            "phases": [asdict(phase) for phase in self.phases.values()],
            "overhead_seconds": self.overhead_seconds,
            "overhead_flops": self.overhead_flops,
            "skipped_flops_per_sample": dict(self.skipped_flops_per_sample),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        phases = [Phase(**plain) for plain in state["phases"]]
        self.phases = {(phase.n_frozen, phase.n_skipped): phase for phase in phases}
        self.overhead_seconds, self.overhead_flops = state["overhead_seconds"], state["overhead_flops"]
        self.skipped_flops_per_sample = dict(state["skipped_flops_per_sample"])


def training_flops(model: nn.Module, call: Call, frozen: Collection[str], learned: Collection[nn.Parameter]) -> float:
    """Count the floating-point operations of one forward and backward pass with some parameters frozen.

    torch's own counter: matrix products, convolutions and attention, forward and backward. The model is run in
    evaluation mode on a batch that it has seen, and handed back as it was; gradients in store are not touched.

    Args:
        model: The network, without wrappers.
        call: What it was called with.
        frozen: Names of the parameters to count as frozen.
        learned: Parameters that are frozen now, and learn in this count unless they are among those.

    Returns:
        The number; NaN where this model's backward pass does not run in evaluation mode.
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
    """Ask for gradients of these parameters only; afterwards for those of before."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in learning)
        yield
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag)
