"""Class sensitivity over training: when, and in which layers, does each class become readable?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import overload

import numpy as np
from torch import nn

from svcca.capture.batches import Forward
from svcca.capture.checkpoints import Weights, find_checkpoints
from svcca.capture.layers import unwrap
from svcca.capture.rules import Observe
from svcca.capture.sources import ModelSource
from svcca.capture.targets import Targets
from svcca.compare.by_measure import ByMeasure, one_or_by_measure
from svcca.compare.class_dynamics_result import ClassDynamics, check_alike
from svcca.compare.class_result import ClassSensitivity
from svcca.compare.classes import TargetColumns, measures_of_classes, sensitivities_of
from svcca.compare.snapshots import probe_of
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, message
from svcca.io.files import PathLike
from svcca.measures.measure import Measure
from svcca.progress import track


@overload
def class_dynamics(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too
    model: nn.Module,
    checkpoints: PathLike | Sequence[Weights],
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    targets: Targets = "logits",
    measure: str | Measure = "svcca",
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    steps: Sequence[int] | None = None,
    forward: Forward | None = None,
    skip_unreadable: bool = False,
    progress: bool | None = None,
) -> ClassDynamics: ...
@overload
def class_dynamics(
    model: nn.Module,
    checkpoints: PathLike | Sequence[Weights],
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    targets: Targets = "logits",
    measure: Sequence[str | Measure],
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    steps: Sequence[int] | None = None,
    forward: Forward | None = None,
    skip_unreadable: bool = False,
    progress: bool | None = None,
) -> ByMeasure[ClassDynamics]: ...
def class_dynamics(
    model: nn.Module,
    checkpoints: PathLike | Sequence[Weights],
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    targets: Targets = "logits",
    measure: str | Measure | Sequence[str | Measure] = "svcca",
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    steps: Sequence[int] | None = None,
    forward: Forward | None = None,
    skip_unreadable: bool = False,
    progress: bool | None = None,
) -> ClassDynamics | ByMeasure[ClassDynamics]:
    """Correlate every layer with every class logit at every checkpoint: when does a class become readable, and where?

    By default the logits are those of each checkpoint: how much of what the network says at that step does each layer
    hold? A fixed target (one-hot labels, the logits of the trained network) asks the same question at every step.

    Args:
        model: The network; its own weights play no part, and it is left as it is.
        checkpoints: A folder, or a list of files, folders or state dicts, as for `learning_dynamics`.
        data: The probe set, as for `compare`. Its batches are kept, so that a loader that shuffles gives every
            checkpoint the same inputs. `targets` follow their order: beside them, pass data that is not shuffled.
        layers: Names or glob patterns; default: every leaf module.
        classes: Names of the logits (or of the columns of `targets`), in order; default: "0", "1", ...
        targets: What layers are correlated with, as for `class_sensitivity`: "logits" (default), those of each
            checkpoint, or anything that is the same at every step.
        measure: Name of a measure, or a measure; or several in a list, evaluated from the same decompositions.
        observe: What is a sample and what a feature, as for `class_sensitivity`.
        retained_variance: Share of each layer's variance whose directions take part in measures with an SVD step.
        steps: Of the checkpoints, where their names do not tell; ascending.
        forward: Your own way to run the model: forward(model, batch).
        skip_unreadable: Leave out checkpoints that cannot be read, with a warning, instead of stopping.
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        Correlations, or values of the measure, (steps, layers, classes), with ranks, chance levels and the share beyond
        chance. For a list of measures a mapping from the label of each to these.

    Raises:
        FileError: For a checkpoint that cannot be read or does not fit the model.
        InputError: For fewer than two checkpoints, a logit that is constant at some step (as where the last layer
            starts at zero), layers that are constant at some steps only, and what `class_sensitivity` refuses; the
            message names the step.
        SampleError: For targets of another number of samples.

    Cost:
        What `class_sensitivity` costs, times the number of checkpoints; memory is that of one, and a copy of the model.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 4.3 and figure 6, at one step.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> states = [{name: torch.randn_like(w) for name, w in net.state_dict().items()} for _ in range(2)]
    >>> found = class_dynamics(net, states, torch.randn(500, 8), steps=[0, 100])
    >>> found.values.shape, found.values[:, -1].round(6).tolist()
    ((2, 3, 3), [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    """
    where = "class_dynamics"
    chosen, step = measures_of_classes(measure, observe), SVDStep(retained_variance)
    found = find_checkpoints(checkpoints, steps)
    if len(found) < 2:
        remedy = "For one, load it and call class_sensitivity"
        raise InputError(message(where, "at least two checkpoints", f"one, {found[0].name}", "", remedy))
    network = copy.deepcopy(unwrap(model))
    # Once before any checkpoint: what arrays and names have wrong is said here.
    TargetColumns(targets, classes, ModelSource(network, None, forward, where), forward)
    probe = probe_of(data)
    taken: dict[int, list[ClassSensitivity]] = {}
    for checkpoint in track(found, "Checkpoints", progress):
        if not checkpoint.loaded_into(network, skip_unreadable=skip_unreadable):
            continue
        title = f"{type(network).__name__} at step {checkpoint.step}"
        source = ModelSource(network, layers, forward, title)
        columns = TargetColumns(targets, classes, source, forward)
        taken[checkpoint.step] = sensitivities_of(source, columns, probe, chosen, observe, step, progress=False)
        first = next(iter(taken))
        # Here too, not in the result alone: what the first two steps tell need not wait for the last.
        check_alike(where, taken[first][0], taken[checkpoint.step][0], first, checkpoint.step)
    if len(taken) < 2:
        raise InputError(message(where, "at least two readable checkpoints", str(len(taken))))
    results = (
        ClassDynamics(np.array(list(taken)), by_step, type(network).__name__)
        for by_step in zip(*taken.values(), strict=True)
    )
    return one_or_by_measure(measure, results)
