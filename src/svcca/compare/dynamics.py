"""Learning dynamics: every layer at every step of training against the layers at its end."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, overload

import numpy as np
from torch import nn

from svcca.capture.batches import Forward, device_of
from svcca.capture.checkpoints import Weights, find_checkpoints
from svcca.capture.layers import unwrap
from svcca.capture.rules import Observe, common_rule
from svcca.compare.by_measure import ByMeasure, one_or_by_measure
from svcca.compare.dynamics_result import LearningDynamics
from svcca.compare.matrices import furthest_layer
from svcca.compare.result import LayerSummary
from svcca.compare.snapshots import Settings, Snapshot, path_of, probe_of, saved_snapshots, take_snapshot
from svcca.core.subspace import WHOLE, SVDStep
from svcca.errors import FileError, InputError, SvccaWarning, message, unknown_option
from svcca.io.files import PathLike
from svcca.measures.evaluate import evaluate, evaluate_all
from svcca.measures.measure import Measure
from svcca.measures.registry import get_measures
from svcca.measures.similarity import Similarity
from svcca.progress import track

Reference = Literal["last", "previous"]
"""What each step is compared with."""
Load = Callable[[], Snapshot]
"""Gives a snapshot when it is needed, so that few are in memory at a time."""


@overload
def learning_dynamics(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too
    model: nn.Module,
    checkpoints: PathLike | Sequence[Weights],
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    measure: str | Measure = "svcca",
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    reference: Reference = "last",
    steps: Sequence[int] | None = None,
    forward: Forward | None = None,
    folder: PathLike | None = None,
    skip_unreadable: bool = False,
    progress: bool | None = None,
) -> LearningDynamics: ...
@overload
def learning_dynamics(
    model: nn.Module,
    checkpoints: PathLike | Sequence[Weights],
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    measure: Sequence[str | Measure],
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    reference: Reference = "last",
    steps: Sequence[int] | None = None,
    forward: Forward | None = None,
    folder: PathLike | None = None,
    skip_unreadable: bool = False,
    progress: bool | None = None,
) -> ByMeasure[LearningDynamics]: ...
def learning_dynamics(
    model: nn.Module,
    checkpoints: PathLike | Sequence[Weights],
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    measure: str | Measure | Sequence[str | Measure] = "svcca",
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    reference: Reference = "last",
    steps: Sequence[int] | None = None,
    forward: Forward | None = None,
    folder: PathLike | None = None,
    skip_unreadable: bool = False,
    progress: bool | None = None,
) -> LearningDynamics | ByMeasure[LearningDynamics]:
    """Compare every layer at every checkpoint with the layers at the last one.

    Each checkpoint's layers are decomposed once over the same inputs; pairs then cost small products.

    Args:
        model: The network; its own weights play no part, and it is left as it is.
        checkpoints: A folder, or a list of files, folders or state dicts: .pt, .pth, .bin and Lightning's .ckpt (read
            with weights_only), .safetensors, Hugging Face's `checkpoint-500` folders.
        data: The probe set: a loader, a tensor or a dict of tensors, as for `compare`. Its batches are kept, so that a
            loader that shuffles gives every checkpoint the same inputs.
        layers: Names or glob patterns; default: every leaf module.
        measure: Name of a measure, or a measure; or several in a list, evaluated from the same decompositions.
        observe: What is a sample and what a feature, as for `compare`.
        retained_variance: Share of each layer's variance that the SVD step keeps.
        reference: "last" (default) compares with the last checkpoint, "previous" with the one before.
        steps: Of the checkpoints, where their names do not tell; ascending.
        forward: Your own way to run the model: forward(model, batch).
        folder: Where what is kept of each checkpoint lies; a run that was interrupted goes on from there. Use another
            one for other inputs.
        skip_unreadable: Leave out checkpoints that cannot be read, with a warning, instead of stopping.
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        Similarities (steps, layers, layers) with ranks and chance levels; tables, plots, the step at which each layer
        has converged. For a list of measures a mapping from the label of each to these.

    Raises:
        FileError: For a checkpoint that cannot be read or does not fit the model; names that are missing and unexpected
            are listed.
        InputError: For fewer than two checkpoints, steps out of order, or anything about a batch or a layer.

    Cost:
        For T checkpoints and L layers: T forward passes, T L decompositions, T L^2 products of kept bases. Memory: the
        rows of one checkpoint and, with a `folder`, the bases of two; otherwise of all. By "fourier" maps have no small
        basis of samples: the maps themselves are kept, in their own dtype, and each checkpoint is paired with another
        by the DFT of both and T L^2 products over all samples at every frequency.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 4.1 and figure 4.
    """
    chosen = get_measures(measure, frequency=common_rule(observe).by_frequency)
    step = SVDStep(retained_variance)
    settings = Settings.of(layers, observe, common_step(chosen, step))
    found = find_checkpoints(checkpoints, steps)
    if len(found) < 2:
        raise InputError(message("learning_dynamics", "at least two checkpoints", f"one, {found[0].name}"))
    network = copy.deepcopy(unwrap(model))
    probe = probe_of(data, device_of(network))
    kept = prepared(folder)
    loads: list[Load] = []
    for checkpoint in track(found, "Checkpoints", progress):
        snapshot = known(kept.get(checkpoint.step), settings, observe)
        on_disk = snapshot is not None
        if snapshot is None:
            if not checkpoint.loaded_into(network, skip_unreadable=skip_unreadable):
                continue
            snapshot = take_snapshot(network, probe, checkpoint.step, settings, observe, forward)
        loads.append(stored(snapshot, folder, observe, on_disk=on_disk))
    if len(loads) < 2:
        raise InputError(message("learning_dynamics", "at least two readable checkpoints", str(len(loads))))
    results = dynamics_of(loads, chosen, step, reference, type(network).__name__, progress)
    return one_or_by_measure(measure, results)


def common_step(measures: Sequence[Measure], step: SVDStep) -> SVDStep:
    """Return how snapshots are cut that serve all these measures: not at all unless all have the SVD step."""
    return step if all(measure.svd_step for measure in measures) else WHOLE


def dynamics_of(
    loads: Sequence[Load],
    measures: Sequence[Measure],
    step: SVDStep,
    reference: Reference,
    title: str,
    progress: bool | None,
) -> list[LearningDynamics]:
    """Compare snapshots in order of their steps; one result a measure.

    Raises:
        UnknownOptionError: If `reference` is neither "last" nor "previous".
        InputError: If the snapshots are of different layers or samples.
    """
    if reference not in ("last", "previous"):
        raise unknown_option("learning_dynamics", "reference", reference, ["last", "previous"])
    last = loads[-1]()
    cuts = [step if measure.svd_step else WHOLE for measure in measures]
    grids, taken, ranks = [], [], []
    pairs: list[tuple[Load, Load | None]] = (
        [(load, None) for load in loads] if reference == "last" else [(b, a) for a, b in pairwise(loads)]
    )
    before: Snapshot | None = None
    for load, previous in track(pairs, "Steps", progress):
        snapshot = load()
        if previous is not None:
            before = previous() if before is None else before
        other = last if previous is None else before
        assert other is not None, "set just above"
        grids.append(_similarities(snapshot, other, measures, step))
        taken.append(snapshot.step)
        ranks.append([[subspace.truncate(cut).rank for subspace in snapshot.subspaces] for cut in cuts])
        before = snapshot
    far = furthest_layer(
        {f"{title} at step {last.step} {name!r}": layer for name, layer in zip(last.names, last.subspaces, strict=True)}
    )
    results = []
    for place, measure in enumerate(measures):
        pairs_of = [[[pair[place] for pair in row] for row in grid] for grid in grids]
        # Of each kind the doubt of the last step's last pair that has one stands for all.
        doubts = {doubt.kind: doubt for grid in pairs_of for row in grid for pair in row for doubt in pair.warnings}
        dynamics = LearningDynamics(
            values=np.array([[[pair.similarity for pair in row] for row in grid] for grid in pairs_of]),
            chance=np.array([[[pair.chance for pair in row] for row in grid] for grid in pairs_of]),
            ranks=np.array([at_step[place] for at_step in ranks]),
            steps=np.array(taken),
            layers=tuple(
                LayerSummary(
                    name,
                    subspace.n_features,
                    subspace.truncate(cuts[place]).rank,
                    observation,
                    subspace.n_frequencies,
                    subspace.translation_gap,
                )
                for name, subspace, observation in zip(last.names, last.subspaces, last.observations, strict=True)
            ),
            measure=measure.label,
            retained_variance=step.retained_variance if measure.svd_step else 1.0,
            n_samples=last.n_samples,
            reference=reference,
            title=title,
            warnings=(*doubts.values(), *far),
            definition=measure.definition,
        )
        results.append(dynamics)
    for doubt in dict.fromkeys(doubt for dynamics in results for doubt in dynamics.warnings):
        warnings.warn(doubt.text, SvccaWarning, stacklevel=3)
    return results


def _similarities(
    snapshot: Snapshot, other: Snapshot, measures: Sequence[Measure], step: SVDStep
) -> list[list[list[Similarity]]]:
    """Every layer of one snapshot against every layer of another by every measure, [row][column][measure]."""
    for what, got, expected in (
        ("layers", snapshot.names, other.names),
        ("number of rows", snapshot.n_samples, other.n_samples),
        ("settings", snapshot.settings, other.settings),
    ):
        if got != expected:
            where = f"snapshots at steps {snapshot.step} and {other.step}"
            remedy = "Take them with the same layers, rule and probe set; use an empty folder"
            raise InputError(message(where, f"the same {what}", f"{got} and {expected}", "", remedy))
    grid = snapshot.kept.pairs(other.kept)
    # Bases are cut when they are taken, if every measure has the step: they need no second cut for every pair.
    cut = WHOLE if all(measure.svd_step for measure in measures) else step
    return [
        [
            evaluate_all(measures, grid.pair(i, j), cut, f"{row} at step {snapshot.step} x {column}")
            for j, column in enumerate(other.names)
        ]
        for i, row in enumerate(snapshot.names)
    ]


def twins(snapshot: Snapshot, before: Snapshot, measure: Measure, step: SVDStep) -> dict[str, float]:
    """Similarity of each layer in both snapshots with itself, by the module's name; of several calls, the last."""
    earlier = {label: index for index, label in enumerate(before.names)}
    found = {}
    for index, label in enumerate(snapshot.names):
        if label in earlier:
            pair = snapshot.kept.only(index).pairs(before.kept.only(earlier[label])).pair(0, 0)
            where = f"{label} at step {snapshot.step} x {before.step}"
            found[label.partition("#")[0]] = evaluate(measure, pair, step, where).similarity
    return found


def prepared(folder: PathLike | None) -> dict[int, Path]:
    """Make the folder where there is none; give the snapshots in it by step."""
    if folder is not None:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(message(f"folder {folder}", "a folder for snapshots", str(error.strerror))) from error
    return saved_snapshots(folder)


def known(path: Path | None, settings: Settings, observe: Observe) -> Snapshot | None:
    """Return a snapshot that was kept, if it is whole and of these settings."""
    if path is None:
        return None
    try:
        snapshot = Snapshot.load(path, observe)
    except FileError:
        return None  # half-written by another tool, or damaged: it is taken again
    return snapshot if snapshot.settings == settings else None


def stored(snapshot: Snapshot, folder: PathLike | None, observe: Observe, *, on_disk: bool) -> Load:
    """Write a snapshot to the folder, unless it came from there; without one it stays in memory."""
    if folder is None:
        return lambda: snapshot
    path = path_of(Path(folder), snapshot.step) if on_disk else snapshot.save(Path(folder))
    return lambda: Snapshot.load(path, observe)
