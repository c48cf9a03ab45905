"""What watching a network train returns: similarities by step, layer and layer, with their chance levels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from svcca.compare.result import LayerSummary, SimilarityMatrix, current_versions, plain_levels
from svcca.errors import Doubt, InputError, message
from svcca.io.documents import Document

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMAT = "svcca.learning_dynamics"
FORMAT_VERSION = 3
ARRAYS = ("values", "chance", "ranks", "steps")


def place_of(step: int, steps: npt.NDArray[np.int64], where: str) -> int:
    """Find a step among those there are.

    Raises:
        InputError: If it is not among them; they are listed.
    """
    if step not in steps:
        known = ", ".join(str(known) for known in steps)
        raise InputError(message(where, f"one of the steps {known}", str(step)))
    return int(np.flatnonzero(steps == step)[0])


@dataclass(frozen=True, eq=False)
class LearningDynamics(Document):
    """Similarity of every layer at every step of training with the layers at the last step (or the step before).

    Attributes:
        values: Similarities, (n_steps, layers at that step, layers it is compared with), float64.
        chance: What unrelated layers of the same ranks would give, likewise; NaN where it is not known.
        ranks: Kept directions of each layer at each step, (n_steps, n_layers).
        steps: Steps of training, ascending, (n_steps,).
        layers: Layers in order of execution, with their ranks at the last step.
        measure: Label of the measure.
        retained_variance: Share of each layer's variance kept; 1 for measures without an SVD step.
        n_samples: Rows of the probe set.
        reference: What each step is compared with, "last" or "previous".
        title: What was trained.
        warnings: What a reader must know before trusting a value.
        versions: Versions of svcca, torch and Python.
        definition: The measure in one sentence; may be empty.
    """

    _FORMAT: ClassVar[str] = FORMAT
    _VERSION: ClassVar[int] = FORMAT_VERSION

    values: npt.NDArray[np.float64]
    chance: npt.NDArray[np.float64]
    ranks: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    layers: tuple[LayerSummary, ...]
    measure: str
    retained_variance: float
    n_samples: int
    reference: str = "last"
    title: str = ""
    warnings: tuple[Doubt, ...] = ()
    versions: dict[str, str] = field(default_factory=current_versions)
    definition: str = ""

    def __post_init__(self) -> None:
        """Check that the shapes fit; make the arrays read-only."""
        n_steps, n_layers = len(self.steps), len(self.layers)
        cube = (n_steps, n_layers, n_layers)
        shapes: dict[str, tuple[int, ...]] = {"values": cube, "chance": cube, "ranks": cube[:2], "steps": cube[:1]}
        for name, shape in shapes.items():
            array = np.array(getattr(self, name), dtype=np.float64 if name in ("values", "chance") else np.int64)
            if array.shape != shape:
                raise InputError(message(f"LearningDynamics {name}", f"shape {shape}", f"shape {array.shape}"))
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(layer.name for layer in self.layers)

    @property
    def curves(self) -> npt.NDArray[np.float64]:
        """Similarity of each layer with itself at the last step (or the step before), (n_steps, n_layers)."""
        return np.diagonal(self.values, axis1=1, axis2=2).copy()

    def to_frame(self) -> pd.DataFrame:
        """The curves, a row a step and a column a layer."""
        import pandas as pd

        return pd.DataFrame(self.curves, index=pd.Index(self.steps, name="step"), columns=list(self.labels))

    def at(self, step: int) -> SimilarityMatrix:
        """Layers at one step against the layers it is compared with.

        Raises:
            InputError: If there is no such step; the steps there are are listed.
        """
        index = place_of(step, self.steps, "LearningDynamics.at")
        rows = tuple(
            replace(layer, rank=int(rank), translation_gap=layer.translation_gap if step == self.steps[-1] else None)
            for layer, rank in zip(self.layers, self.ranks[index], strict=True)
        )
        column_title = f"step {self.steps[-1]}" if self.reference == "last" else "the step before"
        return SimilarityMatrix(
            self.values[index],
            rows,
            self.layers,
            self.measure,
            self.retained_variance,
            self.n_samples,
            self.chance[index],
            warnings=self.warnings,
            row_title=f"{self.title} at step {step}",
            column_title=column_title,
            versions=self.versions,
            definition=self.definition,
        )

    def convergence_steps(self, threshold: float = 0.9) -> dict[str, int]:
        """First step from which each layer stays at or above a similarity with itself at the end.

        Raises:
            InputError: For a threshold outside (0, 1], or curves against the step before.
        """
        if self.reference != "last":
            raise InputError(message("convergence_steps", "curves against the last step", f"{self.reference!r}"))
        if not 0 < threshold <= 1:
            raise InputError(message("convergence_steps", "a threshold in (0, 1]", str(threshold)))
        # The last step is the layer itself, at 1 but for rounding.
        above = self.curves >= threshold - 1e-9
        stays = np.logical_and.accumulate(above[::-1], axis=0)[::-1]
        first = len(self.steps) - stays.sum(axis=0)
        return {name: int(self.steps[min(i, len(self.steps) - 1)]) for name, i in zip(self.labels, first, strict=True)}

    def depth_correlation(self, threshold: float = 0.9) -> float | None:
        """Spearman's rank correlation of depth with the step of convergence: above 0, lower layers converge first.

        None where all layers converge at the same step, or there is one layer only.
        """
        import pandas as pd

        steps = pd.Series(list(self.convergence_steps(threshold).values()))
        if steps.nunique() < 2:
            return None
        depth = pd.Series(np.arange(len(steps)))
        return float(depth.rank().corr(steps.rank()))

    def summary(self, threshold: float = 0.9) -> pd.DataFrame:
        """A row a layer: the step at which it has converged, where it started, its chance level and ranks."""
        import pandas as pd

        chance = np.diagonal(self.chance, axis1=1, axis2=2)
        return pd.DataFrame(
            {
                "converged at": list(self.convergence_steps(threshold).values()),
                "first": self.curves[0],
                "chance": chance.max(axis=0),
                "first rank": self.ranks[0],
                "last rank": self.ranks[-1],
            },
            index=pd.Index(list(self.labels), name="layer"),
        )

    def _plain(self) -> dict[str, Any]:
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plain |= {name: plain[name].tolist() for name in ARRAYS} | {"chance": plain_levels(self.chance)}
        return plain | {name: [asdict(entry) for entry in plain[name]] for name in ("layers", "warnings")}

    @classmethod
    def _from_plain(cls, plain: dict[str, Any], where: str) -> LearningDynamics:
        layers = tuple(LayerSummary(**layer) for layer in plain.pop("layers"))
        doubts = tuple(Doubt(**doubt) for doubt in plain.pop("warnings"))
        arrays = {name: np.array(plain.pop(name)) for name in ARRAYS}
        return cls(**plain | arrays, layers=layers, warnings=doubts)

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw a line a layer over the steps, with the chance level; return the figure and its axes.

        Args:
            ax: Where to draw; by default a new figure.
        """
        from svcca.plots.training_curves import plot_similarity_curves

        end = "the end" if self.reference == "last" else "the step before"
        return plot_similarity_curves(
            self.steps,
            self.curves,
            np.diagonal(self.chance, axis1=1, axis2=2),
            layers=self.labels,
            y_label=f"{self.measure} with {end}",
            title=f"{self.title}, {self.n_samples:,} samples",
            ax=ax,
        )

    def plot_panes(self, n_panes: int = 4) -> tuple[Figure, npt.NDArray[Any]]:
        """Draw layers against layers at some steps, first and last among them; return the figure and its axes.

        Args:
            n_panes: How many steps to draw; all where there are fewer.
        """
        from svcca.plots.panes import plot_panes

        when = f"at step {self.steps[-1]:,}" if self.reference == "last" else "at the step before"
        return plot_panes(
            self.values,
            self.steps,
            n_panes,
            layers=self.labels,
            x_label=f"layers {when}",
            bar_label=f"{self.measure} similarity",
        )
