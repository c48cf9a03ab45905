"""Freeze a block once it has converged: once successive snapshots of it over a probe set are alike."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from svcca.capture.batches import Forward, device_of
from svcca.capture.flops import counting_flops
from svcca.capture.rules import Observe, common_rule
from svcca.compare.dynamics import twins
from svcca.compare.snapshots import Settings, Snapshot, probe_of, take_snapshot
from svcca.core.subspace import WHOLE, SVDStep
from svcca.errors import InputError, NonFiniteError, RankError, SolverError, SvccaWarning, message
from svcca.freeze.blocks import Block
from svcca.freeze.cost import Clock
from svcca.measures.measure import Measure
from svcca.measures.registry import get_measure, get_measures

if TYPE_CHECKING:  # torch can be built without it
    from torch.distributed import ProcessGroup

When = int | float
"""A step (int), or a fraction of all steps (float)."""


@dataclass(frozen=True)
class AdaptiveFreezing:
    """Freeze the lowest block once its similarity between successive snapshots has stayed above a threshold.

    Attributes:
        probe: Fixed set of inputs, as `data` of `learning_dynamics`; a few hundred are enough for narrow blocks.
        threshold: Least similarity of a block with itself at the snapshot before, in (0, 1).
        patience: Number of successive similarities that must reach it.
        every: Steps between snapshots (int), or their fraction of all steps (float).
        start: Step (int) or fraction of all steps (float) before which nothing freezes.
        measure: Name of a measure, or a measure.
        observe: Rule for what is a sample and what a feature of the probe set.
        forward: Function forward(model, batch) that runs the model. Default: the model is called with the batch.

    Raises:
        InputError: If a value is out of its range: such a schedule would freeze never, or everything at once.
    """

    probe: object
    threshold: float = 0.98
    patience: int = 2
    every: When = 0.05
    start: When = 0.1
    measure: str | Measure = "svcca"
    observe: Observe = "auto"
    forward: Forward | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.threshold < 1:
            cause = "No two snapshots are more alike than 1" if self.threshold >= 1 else "Every snapshot reaches it"
            expected = "a threshold above 0 and below 1"
            raise InputError(message("AdaptiveFreezing", expected, str(self.threshold), cause))
        if self.patience < 1:
            raise InputError(message("AdaptiveFreezing", "a patience of at least 1", str(self.patience)))
        get_measure(self.measure)


def step_of(when: When, total_steps: int, where: str) -> int:
    """Return the step that a step or a fraction of all steps means.

    Raises:
        InputError: If the step is negative, the fraction is outside of 0 to 1, or it is no number.
    """
    fraction = isinstance(when, float)
    if isinstance(when, bool) or not isinstance(when, (int, float)) or not 0 <= when <= (1 if fraction else when):
        expected = "a step (int) or a fraction of all steps (float from 0 to 1)"
        raise InputError(message(where, expected, repr(when)))
    return round(when * total_steps) if fraction else int(when)


class Convergence:
    """Observe the blocks that may freeze, and decide when the lowest has converged."""

    def __init__(
        self,
        model: nn.Module,
        blocks: Sequence[Block],
        schedule: AdaptiveFreezing,
        total_steps: int,
        clock: Clock,
        group: ProcessGroup | None,
    ) -> None:
        self._model, self._blocks, self._schedule = model, blocks, schedule
        self._clock, self._group = clock, group
        self._flops: int | None = None
        self._probe = probe_of(schedule.probe, device_of(model))
        (self._measure,) = get_measures(schedule.measure, frequency=common_rule(schedule.observe).by_frequency)
        self._cut = SVDStep() if self._measure.svd_step else WHOLE
        self._every = max(1, step_of(schedule.every, total_steps, "AdaptiveFreezing every"))
        self._start = step_of(schedule.start, total_steps, "AdaptiveFreezing start")
        # The similarity after k + 1 snapshots is the k-th; patience of them must lie before the end.
        earliest = max(self._start, self._every * (schedule.patience + 1))
        if earliest >= total_steps:
            got = f"the earliest time at step {earliest} of {total_steps}"
            remedy = "Take snapshots more often, or start earlier"
            raise InputError(
                message("AdaptiveFreezing", "at least one block to freeze before the end", got, "", remedy)
            )
        self._last: Snapshot | None = None
        self.history: dict[str, list[tuple[int, float]]] = {block.name: [] for block in blocks}

    def watch(self, step: int, n_frozen: int) -> None:
        """Take a snapshot of the blocks that still learn, where one is due, and compare it with the one before.

        A block that is constant or no longer finite does not end the training run: a warning says so, and the
        similarities before it no longer count.

        Raises:
            InputError: If a block cannot be observed.
        """
        learning = self._blocks[n_frozen:]
        if step % self._every or not learning:
            return
        layers = [block.modules[-1] for block in learning]
        settings = Settings.of(layers, self._schedule.observe, self._cut)
        try:
            snapshot = self._snapshot(step, settings)
        except (RankError, NonFiniteError, SolverError) as error:
            warnings.warn(f"Freezing waits for another snapshot: {error}", SvccaWarning, stacklevel=3)
            self._last = None
            self.history = {name: [] for name in self.history}
            return
        if self._last is not None:
            similarities = self._agreed(twins(snapshot, self._last, self._measure, self._cut))
            for block in learning:
                self.history[block.name].append((step, similarities[block.modules[-1]]))
        self._last = snapshot

    def _snapshot(self, step: int, settings: Settings) -> Snapshot:
        observe, forward = self._schedule.observe, self._schedule.forward
        if self._flops is None:  # every later one is the same pass; counting takes time
            with counting_flops(device_of(self._model)) as counter:
                snapshot = take_snapshot(self._model, self._probe, step, settings, observe, forward)
            self._flops = counter.get_total_flops()
        else:
            snapshot = take_snapshot(self._model, self._probe, step, settings, observe, forward)
        self._clock.overhead_flops += self._flops
        return snapshot

    def _agreed(self, similarities: dict[str, float]) -> dict[str, float]:
        """Return what the first process found: all that train together must freeze alike."""
        if self._group is None:
            return similarities
        shared = [similarities]
        from torch import distributed as dist

        first, device = dist.get_global_rank(self._group, 0), device_of(self._model)
        dist.broadcast_object_list(shared, src=first, group=self._group, device=device)
        return shared[0]

    def reason(self, step: int, n_frozen: int) -> str | None:
        """Return why the lowest block that learns freezes now, or None if it has not converged."""
        if n_frozen >= len(self._blocks) or step < self._start:
            return None
        recent = self.history[self._blocks[n_frozen].name][-self._schedule.patience :]
        if len(recent) < self._schedule.patience or min(value for _, value in recent) < self._schedule.threshold:
            return None
        values = ", ".join(f"{value:.3f} at step {when}" for when, value in recent)
        return f"{self._measure.label} with the snapshot before at least {self._schedule.threshold:g}: {values}"

    def state_dict(self) -> dict[str, Any]:
        """Return the similarities so far and the last snapshot, which the next is compared with."""
        last = None if self._last is None else self._last.packed()
        return {"history": {name: list(values) for name, values in self.history.items()}, "last": last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the state that `state_dict` returned."""
        self.history = {name: [tuple(value) for value in values] for name, values in state["history"].items()}
        self._last = None
        if state["last"] is not None:
            tensors, text = state["last"]
            self._last = Snapshot.unpacked(tensors, text, self._schedule.observe)
