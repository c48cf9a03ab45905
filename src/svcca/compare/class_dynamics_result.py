"""What class sensitivity over training returns: a `ClassSensitivity` a step, and curves over the steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from svcca.compare.class_result import ClassSensitivity
from svcca.compare.dynamics_result import place_of
from svcca.compare.result import SimilarityMatrix
from svcca.errors import InputError, message, unknown_option
from svcca.io.documents import Document

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMAT = "svcca.class_dynamics"
FORMAT_VERSION = 2


@dataclass(frozen=True, eq=False)
class ClassDynamics(Document):
    """Class sensitivity at every step of training: the similarity of every layer to every class logit.

    Attributes:
        steps: Steps of training, ascending, (n_steps,).
        sensitivities: What was found at each step, by the same measure, of the same layers, classes and samples.
        title: What was trained.
    """

    _FORMAT: ClassVar[str] = FORMAT
    _VERSION: ClassVar[int] = FORMAT_VERSION

    steps: npt.NDArray[np.int64]
    sensitivities: tuple[ClassSensitivity, ...]
    title: str = ""

    def __post_init__(self) -> None:
        """Check that the steps fit; make them read-only."""
        steps = np.array(self.steps, dtype=np.int64)
        if not self.sensitivities or steps.shape != (len(self.sensitivities),):
            expected = "a step for each of one or more sensitivities"
            got = f"steps of shape {steps.shape} for {len(self.sensitivities)}"
            raise InputError(message("ClassDynamics", expected, got))
        if (np.diff(steps) <= 0).any():
            got = ", ".join(str(step) for step in steps[:8])
            raise InputError(message("ClassDynamics steps", "ascending steps", got))
        for step, found in zip(steps, self.sensitivities, strict=True):
            check_alike("ClassDynamics", self.sensitivities[0], found, int(steps[0]), int(step))
        steps.setflags(write=False)
        object.__setattr__(self, "steps", steps)

    @property
    def measure(self) -> str:
        """Label of the measure."""
        return self.sensitivities[0].measure

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """Values of the measure, (n_steps, n_layers, n_classes); by default correlations, in [0, 1]."""
        return np.stack([found.values for found in self.sensitivities])

    @property
    def chance(self) -> npt.NDArray[np.float64]:
        """What noise in place of the logit would give, (n_steps, n_layers, n_classes)."""
        return np.stack([found.chance for found in self.sensitivities])

    @property
    def corrected(self) -> npt.NDArray[np.float64]:
        """Share of the logit's variance beyond chance, as `ClassSensitivity.corrected`, (n_steps, n_layers, n_classes).

        It compares between steps: a layer's rank, and with it the chance level, changes while it learns.

        Raises:
            InputError: For a measure that does not tell it, as `ClassSensitivity.corrected`.
        """
        return np.stack([found.corrected for found in self.sensitivities])

    @property
    def curves(self) -> npt.NDArray[np.float64]:
        """Share beyond chance of each layer, the mean over the classes, (n_steps, n_layers).

        Raises:
            InputError: For a measure that does not tell it, as `ClassSensitivity.corrected`.
        """
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
        """A row a step, layer and class, with the columns of `ClassSensitivity.to_frame`."""
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

        Measures that do not tell the share are drawn by their values, above their chance level.

        Args:
            ax: Where to draw; by default a new figure.
            class_name: One of the classes; default: the mean over all.

        Raises:
            UnknownOptionError: If there is no such class.
        """
        from svcca.plots.text import elide
        from svcca.plots.training_curves import plot_excess_curves, plot_similarity_curves

        if class_name is not None and class_name not in self.classes:
            raise unknown_option("ClassDynamics.plot", "class_name", class_name, self.classes)
        drawn = slice(None) if class_name is None else [self.classes.index(class_name)]
        shown = f"mean of {len(self.classes)} classes" if class_name is None else elide(class_name, 24)
        title = f"{self.title}, {shown}, {self.n_samples:,} samples"
        first = self.sensitivities[0]
        if not first._has_share:
            curves, chance = (numbers[:, :, drawn].mean(axis=2) for numbers in (self.values, self.chance))
            label = f"{first._quantity} with the logit"
            return plot_similarity_curves(
                self.steps, curves, chance, layers=self.layers, y_label=label, title=title, ax=ax
            )
        curves = self.curves if class_name is None else self.corrected[:, :, drawn].mean(axis=2)
        label = "share of variance beyond chance" + ("" if self.measure == "svcca" else f" ({self.measure})")
        return plot_excess_curves(self.steps, curves, layers=self.layers, y_label=label, title=title, ax=ax)


def check_alike(where: str, first: ClassSensitivity, other: ClassSensitivity, first_step: int, step: int) -> None:
    """Raise InputError unless two steps are of the same measure, layers, classes and samples."""
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
    if first.measure != other.measure:
        got = f"{first.measure} at step {first_step} and {other.measure} at step {step}"
        raise InputError(message(where, "the same measure at every step", got))
    if first.matrix.n_samples != other.matrix.n_samples:
        got = f"{first.matrix.n_samples} at step {first_step} and {other.matrix.n_samples} at step {step}"
        raise InputError(message(where, "the same number of samples at every step", got))
