"""Class sensitivity over training: when, and in which layers, does each class become readable?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import nn

from svcca.capture.batches import Forward
from svcca.capture.checkpoints import Weights, find_checkpoints
from svcca.capture.layers import unwrap
from svcca.capture.rules import Observe
from svcca.capture.sources import ModelSource
from svcca.capture.targets import Targets
from svcca.compare.classes import ClassSensitivity, TargetColumns, sensitivity_of
from svcca.compare.dynamics_result import place_of
from svcca.compare.result import SimilarityMatrix
from svcca.compare.snapshots import probe_of
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, message, unknown_option
from svcca.io.documents import Document
from svcca.io.files import PathLike
from svcca.progress import track

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMAT = "svcca.class_dynamics"
FORMAT_VERSION = 2


@dataclass(frozen=True, eq=False)
class ClassDynamics(Document):
    """Class sensitivity at every step of training: the correlation of every layer with every class logit.

    Attributes:
        steps: Steps of training, ascending, (n_steps,).
        sensitivities: What was found at each step, of the same layers, classes and samples.
        title: What was trained.
    """

    _FORMAT: ClassVar[str] = FORMAT
    _VERSION: ClassVar[int] = FORMAT_VERSION

    steps: npt.NDArray[np.int64]
    sensitivities: tuple[ClassSensitivity, ...]
    title: str = ""

    def __post_init__(self) -> None:
        """Hold the steps together; freeze them."""
        steps = np.array(self.steps, dtype=np.int64)
        if not self.sensitivities or steps.shape != (len(self.sensitivities),):
            expected = "a step for each of one or more sensitivities"
            got = f"steps of shape {steps.shape} for {len(self.sensitivities)}"
            raise InputError(message("ClassDynamics", expected, got))
        if (np.diff(steps) <= 0).any():
            got = ", ".join(str(step) for step in steps[:8])
            raise InputError(message("ClassDynamics steps", "ascending steps", got))
        for step, found in zip(steps, self.sensitivities, strict=True):
            _check_alike("ClassDynamics", self.sensitivities[0], found, int(steps[0]), int(step))
        steps.setflags(write=False)
        object.__setattr__(self, "steps", steps)

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """Correlations, (n_steps, n_layers, n_classes), in [0, 1]."""
        return np.stack([found.values for found in self.sensitivities])

    @property
    def chance(self) -> npt.NDArray[np.float64]:
        """What noise in place of the logit would give, (n_steps, n_layers, n_classes)."""
        return np.stack([found.chance for found in self.sensitivities])

    @property
    def corrected(self) -> npt.NDArray[np.float64]:
        """Share of the logit's variance beyond chance, as `ClassSensitivity.corrected`, (n_steps, n_layers, n_classes).

        It compares between steps: a layer's rank, and with it the chance level, changes while it learns.
        """
        return np.stack([found.corrected for found in self.sensitivities])

    @property
    def curves(self) -> npt.NDArray[np.float64]:
        """Share beyond chance of each layer, the mean over the classes, (n_steps, n_layers)."""
        return np.stack([found.corrected.mean(axis=1) for found in self.sensitivities])

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of execution."""
        return self.sensitivities[0].layers

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.sensitivities[0].classes

    @property
    def n_samples(self) -> int:
        """Rows of the probe set."""
        return self.sensitivities[0].matrix.n_samples

    def at(self, step: int) -> ClassSensitivity:
        """Every layer against every class at one step.

        Raises:
            InputError: If there is no such step; the steps there are are listed.
        """
        return self.sensitivities[place_of(step, self.steps, "ClassDynamics.at")]

    def to_frame(self) -> pd.DataFrame:
        """A row a step, layer and class: correlation, chance level, the share beyond chance, the layer's rank."""
        import pandas as pd

        frames = [found.to_frame() for found in self.sensitivities]
        return pd.concat(frames, keys=[int(step) for step in self.steps], names=["step"])

    def _plain(self) -> dict[str, Any]:
        matrices = [found.matrix.to_dict() for found in self.sensitivities]
        return {"steps": self.steps.tolist(), "title": self.title, "matrices": matrices}

    @classmethod
    def _from_plain(cls, plain: dict[str, Any], where: str) -> ClassDynamics:
        matrices = [SimilarityMatrix.from_dict(matrix, where) for matrix in plain.pop("matrices")]
        return cls(sensitivities=tuple(ClassSensitivity(matrix) for matrix in matrices), **plain)

    def plot(self, ax: Axes | None = None, *, class_name: str | None = None) -> tuple[Figure, Axes]:
        """Draw a line a layer over the steps: the share beyond chance, and chance; return the figure and its axes.

        Args:
            ax: Where to draw; by default a new figure.
            class_name: One of the classes; default: the mean over all.

        Raises:
            UnknownOptionError: If there is no such class.
        """
        from svcca.plots.text import elide
        from svcca.plots.training_curves import plot_excess_curves

        if class_name is not None and class_name not in self.classes:
            raise unknown_option("ClassDynamics.plot", "class_name", class_name, self.classes)
        curves, shown = self.curves, f"mean of {len(self.classes)} classes"
        if class_name is not None:
            curves, shown = self.corrected[:, :, self.classes.index(class_name)], elide(class_name, 24)
        return plot_excess_curves(
            self.steps,
            curves,
            layers=self.layers,
            y_label="share of variance beyond chance",
            title=f"{self.title}, {shown}, {self.n_samples:,} samples",
            ax=ax,
        )


def class_dynamics(
    model: nn.Module,
    checkpoints: PathLike | Sequence[Weights],
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    targets: Targets = "logits",
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    steps: Sequence[int] | None = None,
    forward: Forward | None = None,
    skip_unreadable: bool = False,
    progress: bool | None = None,
) -> ClassDynamics:
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
        observe: What is a sample and what a feature, as for `class_sensitivity`.
        retained_variance: Share of each layer's variance whose directions may take part.
        steps: Of the checkpoints, where their names do not tell; ascending.
        forward: Your own way to run the model: forward(model, batch).
        skip_unreadable: Leave out checkpoints that cannot be read, with a warning, instead of stopping.
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        Correlations (steps, layers, classes) with ranks, chance levels and the share beyond chance.

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
    found = find_checkpoints(checkpoints, steps)
    if len(found) < 2:
        remedy = "For one, load it and call class_sensitivity"
        raise InputError(message(where, "at least two checkpoints", f"one, {found[0].name}", "", remedy))
    network = copy.deepcopy(unwrap(model))
    # Once before any checkpoint: what arrays and names have wrong is said here.
    TargetColumns(targets, classes, ModelSource(network, None, forward, where), forward)
    probe = probe_of(data)
    taken: dict[int, ClassSensitivity] = {}
    for checkpoint in track(found, "Checkpoints", progress):
        if not checkpoint.loaded_into(network, skip_unreadable=skip_unreadable):
            continue
        title = f"{type(network).__name__} at step {checkpoint.step}"
        source = ModelSource(network, layers, forward, title)
        columns = TargetColumns(targets, classes, source, forward)
        sensitivity = sensitivity_of(source, columns, probe, observe, SVDStep(retained_variance), progress=False)
        taken[checkpoint.step] = sensitivity
        first = next(iter(taken))
        # Here too, not in the result alone: what the first two steps tell need not wait for the last.
        _check_alike(where, taken[first], sensitivity, first, checkpoint.step)
    if len(taken) < 2:
        raise InputError(message(where, "at least two readable checkpoints", str(len(taken))))
    return ClassDynamics(np.array(list(taken)), tuple(taken.values()), type(network).__name__)


def _check_alike(where: str, first: ClassSensitivity, other: ClassSensitivity, first_step: int, step: int) -> None:
    """Raise InputError unless two steps are of the same layers, classes and samples."""
    for a, b, present, absent in ((first, other, first_step, step), (other, first, step, first_step)):
        alone = [name for name in a.layers if name not in b.layers]
        if alone:
            got = f"{', '.join(map(repr, alone[:5]))} at step {present} and not at step {absent}"
            cause = "A layer that is constant over all samples is left out of its step"
            remedy = f'Leave it out of all, as layers="!{alone[0]}"'
            raise InputError(message(where, "the same layers at every step", got, cause, remedy))
    for what in ("layers", "classes"):
        if getattr(first, what) != getattr(other, what):
            got = f"{getattr(first, what)} at step {first_step} and {getattr(other, what)} at step {step}"
            raise InputError(message(where, f"the same {what} at every step", got))
    if first.matrix.n_samples != other.matrix.n_samples:
        got = f"{first.matrix.n_samples} at step {first_step} and {other.matrix.n_samples} at step {step}"
        raise InputError(message(where, "the same number of samples at every step", got))
