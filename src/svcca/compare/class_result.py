"""What class sensitivity returns: a value for every layer and class, its chance level and the share beyond chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from svcca.compare.result import SimilarityMatrix
from svcca.errors import InputError, message
from svcca.io.documents import Document

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMAT = "svcca.class_sensitivity"
FORMAT_VERSION = 1
R2_POWERS = {"svcca": 2, "cca": 2, "svcca_r2": 1, "r2_cca": 1}
"""Power that makes an R2 of a measure's value: with one unit there is one canonical correlation, whose square it is."""


@dataclass(frozen=True, eq=False)
class ClassSensitivity(Document):
    """Similarity of every layer to every class logit: by default the correlation of the layer's best direction with it.

    Attributes:
        matrix: The values as a `SimilarityMatrix`: layers in rows, classes in columns, with ranks, chance levels, the
            number of samples and warnings.
    """

    _FORMAT: ClassVar[str] = FORMAT
    _VERSION: ClassVar[int] = FORMAT_VERSION

    matrix: SimilarityMatrix

    @property
    def measure(self) -> str:
        """Label of the measure."""
        return self.matrix.measure

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """Values of the measure, (n_layers, n_classes); by default correlations, in [0, 1]."""
        return self.matrix.values

    @property
    def chance(self) -> npt.NDArray[np.float64]:
        """What noise in place of the logit would give: a wide layer correlates with anything, (n_layers, n_classes).

        NaN where the measure does not know it.
        """
        return self.matrix.chance

    @property
    def corrected(self) -> npt.NDArray[np.float64]:
        """Share of the logit's variance that the layer holds beyond chance, (R2 - b) / (1 - b), b = rank / (n - 1).

        (n_layers, n_classes); about 0 for noise, 1 for all of it; 0 where a layer has as many directions as samples and
        would hold anything. R2 is the squared value of "svcca" and "cca", and the value of "svcca_r2" and "r2_cca".

        Raises:
            InputError: For any other measure, whose value does not tell R2.
        """
        if not self._has_share:
            expected = f"a measure of one correlation ({', '.join(R2_POWERS)})"
            cause = "The share of variance beyond chance follows from R2 alone"
            remedy = "Read values beside chance, or ask for one of these too"
            raise InputError(message("corrected", expected, repr(self.measure), cause, remedy))
        ranks = np.array([layer.rank for layer in self.matrix.rows])[:, None]
        level = np.minimum(1.0, ranks / (self.matrix.n_samples - 1))
        room = np.where(level < 1, 1 - level, 1.0)
        return np.where(level < 1, (self.values ** R2_POWERS[self.measure] - level) / room, 0.0)

    @property
    def _has_share(self) -> bool:
        return self.measure in R2_POWERS

    @property
    def _quantity(self) -> str:
        """What a value is called in tables and on axes."""
        return "correlation" if self.measure == "svcca" else self.measure

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of execution."""
        return self.matrix.row_labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.matrix.column_labels

    def to_frame(self) -> pd.DataFrame:
        """A row a layer and class: value, chance level, the share beyond chance if there is one, the layer's rank."""
        import pandas as pd

        n_classes = len(self.classes)
        index = pd.MultiIndex.from_product([self.layers, self.classes], names=["layer", "class"])
        ranks = np.repeat([layer.rank for layer in self.matrix.rows], n_classes)
        columns = {self._quantity: self.values, "chance": self.chance}
        if self._has_share:
            columns["beyond chance"] = self.corrected
        frame = pd.DataFrame({name: array.ravel() for name, array in columns.items()}, index=index)
        return frame.assign(rank=ranks)

    def _plain(self) -> dict[str, Any]:
        return {"matrix": self.matrix.to_dict()}

    @classmethod
    def _from_plain(cls, plain: dict[str, Any], where: str) -> ClassSensitivity:
        return cls(**plain | {"matrix": SimilarityMatrix.from_dict(plain["matrix"], where)})

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw a line a class over the layers, with the chance level; return the figure and its axes.

        Args:
            ax: Where to draw; by default a new figure.
        """
        from svcca.plots.depth_curves import plot_depth_curves

        return plot_depth_curves(
            self.values,
            self.chance,
            layers=self.layers,
            classes=self.classes,
            y_label=f"{self._quantity} with the logit",
            title=f"{self.matrix.row_title}, {self.matrix.n_samples:,} samples",
            ax=ax,
        )
