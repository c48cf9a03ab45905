"""Recording while a network trains: its layers at chosen steps, instead of checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Generic, TypeVar, overload

from torch import nn

from svcca.capture.batches import Forward, device_of
from svcca.capture.layers import unwrap
from svcca.capture.rules import Observe, common_rule
from svcca.compare.by_measure import ByMeasure, one_or_by_measure
from svcca.compare.dynamics import Load, Reference, common_step, dynamics_of, known, prepared, stored
from svcca.compare.dynamics_result import LearningDynamics
from svcca.compare.snapshots import Settings, probe_of, take_snapshot
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, message
from svcca.io.files import PathLike
from svcca.measures.measure import Measure
from svcca.measures.registry import get_measures

Recorded = TypeVar("Recorded", LearningDynamics, ByMeasure[LearningDynamics])


class DynamicsRecorder(Generic[Recorded]):
    """Records what a network's layers span while it trains, to be compared with their end.

    Args:
        model: The network in training. Recording runs it in evaluation mode without gradients and hands it back as it
            was: mode, hooks, gradients, random state.
        probe: A fixed set of inputs, as `data` of `learning_dynamics`; some thousand are enough.
            One tensor runs 64 inputs at a time on a CPU; a loader keeps its own batches.
        layers: Names or glob patterns; default: every leaf module.
        measure: Name of the measure that `result` evaluates, or a measure; or several in a list.
        observe: What is a sample and what a feature. By "fourier" the maps of the probe set are kept at every step, in
            their own dtype: pass a `folder` where memory is short.
        retained_variance: Share of each layer's variance that the SVD step keeps.
        every: Record when the step is a multiple of this.
        steps: Record at these steps instead; without either, at every call of `step`.
        forward: Your own way to run the model: forward(model, batch).
        folder: Where what is recorded lies; a run that is resumed goes on from there. None keeps them in memory.

    Raises:
        InputError: For an empty probe set, or `every` beside `steps`.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    >>> recorder = DynamicsRecorder(net, torch.randn(500, 4), every=10)
    >>> for step in range(21):
    ...     with torch.no_grad():  # in place of training
    ...         _ = net[2].weight.add_(0.1 * torch.randn(3, 6))
    ...     _ = recorder.step(step)
    >>> recorder.result().curves[-1].round(6).tolist()
    [1.0, 1.0, 1.0]
    """

    @overload
    def __init__(
        self: DynamicsRecorder[LearningDynamics],
        model: nn.Module,
        probe: object,
        *,
        layers: str | Sequence[str] | None = None,
        measure: str | Measure = "svcca",
        observe: Observe = "auto",
        retained_variance: float = 0.99,
        every: int | None = None,
        steps: Collection[int] | None = None,
        forward: Forward | None = None,
        folder: PathLike | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: DynamicsRecorder[ByMeasure[LearningDynamics]],
        model: nn.Module,
        probe: object,
        *,
        layers: str | Sequence[str] | None = None,
        measure: Sequence[str | Measure],
        observe: Observe = "auto",
        retained_variance: float = 0.99,
        every: int | None = None,
        steps: Collection[int] | None = None,
        forward: Forward | None = None,
        folder: PathLike | None = None,
    ) -> None: ...
    def __init__(
        self,
        model: nn.Module,
        probe: object,
        *,
        layers: str | Sequence[str] | None = None,
        measure: str | Measure | Sequence[str | Measure] = "svcca",
        observe: Observe = "auto",
        retained_variance: float = 0.99,
        every: int | None = None,
        steps: Collection[int] | None = None,
        forward: Forward | None = None,
        folder: PathLike | None = None,
    ) -> None:
        if every is not None and (steps is not None or every < 1):
            expected = "every as a positive integer, or steps, not both"
            raise InputError(message("DynamicsRecorder", expected, f"every={every}, steps={steps}"))
        self._model = unwrap(model)
        self._probe = probe_of(probe, device_of(self._model))
        self._measure = measure
        self._measures = get_measures(measure, frequency=common_rule(observe).by_frequency)
        self._cut = SVDStep(retained_variance)
        self._settings = Settings.of(layers, observe, common_step(self._measures, self._cut))
        self._observe, self._forward = observe, forward
        self._every, self._steps = every, None if steps is None else frozenset(steps)
        self._folder = folder
        self._loads: dict[int, Load] = {}
        for number, path in prepared(folder).items():
            snapshot = known(path, self._settings, observe)
            if snapshot is not None:
                self._loads[number] = stored(snapshot, folder, observe, on_disk=True)

    @property
    def recorded(self) -> tuple[int, ...]:
        """Steps that have been recorded, ascending."""
        return tuple(sorted(self._loads))

    def step(self, number: int) -> bool:
        """Record the network if this step is one of those wanted; call it once a training step.

        Returns:
            Whether it was recorded.
        """
        if self._every is not None and number % self._every:
            return False
        if self._steps is not None and number not in self._steps:
            return False
        self.record(number)
        return True

    def record(self, number: int) -> None:
        """Record the network now, at this step; a step that was recorded before is recorded anew.

        Raises:
            InputError: For a layer that cannot be observed, or is constant; the message names the step.
        """
        snapshot = take_snapshot(self._model, self._probe, number, self._settings, self._observe, self._forward)
        self._loads[number] = stored(snapshot, self._folder, self._observe, on_disk=False)

    def result(self, *, reference: Reference = "last", progress: bool | None = None) -> Recorded:
        """Compare every recorded step with the last one (or each with the one before).

        Returns:
            As `learning_dynamics`: for a list of measures a mapping from the label of each to its result.

        Raises:
            InputError: Before two steps have been recorded.
        """
        if len(self._loads) < 2:
            got = f"{len(self._loads)} ({', '.join(map(str, self.recorded)) or 'none'})"
            raise InputError(message("DynamicsRecorder", "at least two recorded steps", got))
        loads = [self._loads[number] for number in self.recorded]
        found = dynamics_of(loads, self._measures, self._cut, reference, type(self._model).__name__, progress)
        return one_or_by_measure(self._measure, found)  # type: ignore[return-value]  # the one that __init__ declared
