"""What a comparison returns: a frozen, labelled matrix that carries its own doubt."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from svcca.errors import Doubt, InputError, message
from svcca.io.documents import Document
from svcca.io.files import PathLike
from svcca.io.pages import write_page

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMAT = "svcca.similarity_matrix"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a comparison.

    Attributes:
        name: Label: the layer's name in its model or file.
        n_features: Width of its rows.
        rank: Directions that took part in the comparison.
        observation: Rule by which its output became rows, e.g. "pool" or "pixels (64 of 1024 positions, seed 0)".
        n_frequencies: Spatial frequencies that its directions are spread over; 1 unless observed by "fourier".
        translation_gap: Share of its covariance's energy between different frequencies, which "fourier" takes to be 0;
            None for other rules.
    """

    name: str
    n_features: int
    rank: int
    observation: str
    n_frequencies: int = 1
    translation_gap: float | None = None


def current_versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    return {"svcca": metadata.version("svcca"), "torch": torch.__version__, "python": platform.python_version()}


def plain_levels(chance: npt.NDArray[np.float64]) -> list[Any]:
    """Return chance levels as nested lists, with None where a level is not known: JSON has no NaN."""
    levels = chance.astype(object)
    levels[np.isnan(chance)] = None
    plain: list[Any] = levels.tolist()
    return plain


@dataclass(frozen=True, eq=False)
class SimilarityMatrix(Document):
    """Similarity of every layer of one network with every layer of another.

    Attributes:
        values: Similarities, (rows, columns), float64.
        rows: Layers of the first network, in order of execution.
        columns: Layers of the second network, in order of execution.
        measure: Label of the measure.
        retained_variance: Share of each layer's variance kept; 1 for measures without an SVD step. Targets that are no
            layer are never cut.
        n_samples: Number of rows that each layer was observed over.
        chance: What unrelated layers of the same ranks would give, (rows, columns), float64; NaN where it is not known.
        warnings: What a reader must know before trusting a value.
        row_title: What the rows are, e.g. a file or model name.
        column_title: What the columns are.
        command: The command or call that computed it; may be empty.
        versions: Versions of svcca, torch and Python.
        definition: The measure in one sentence; may be empty.
    """

    _FORMAT: ClassVar[str] = FORMAT
    _VERSION: ClassVar[int] = FORMAT_VERSION

    values: npt.NDArray[np.float64]
    rows: tuple[LayerSummary, ...]
    columns: tuple[LayerSummary, ...]
    measure: str
    retained_variance: float
    n_samples: int
    chance: npt.NDArray[np.float64]
    warnings: tuple[Doubt, ...] = ()
    row_title: str = "a"
    column_title: str = "b"
    command: str = ""
    versions: dict[str, str] = field(default_factory=current_versions)
    definition: str = ""

    def __post_init__(self) -> None:
        """Check that the shapes fit; make the arrays read-only."""
        shape = (len(self.rows), len(self.columns))
        if 0 in shape:
            raise InputError(message("SimilarityMatrix", "at least one layer on each side", f"{shape[0]} x {shape[1]}"))
        for name in ("values", "chance"):
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != shape:
                raise InputError(message(f"SimilarityMatrix {name}", f"shape {shape}", f"shape {array.shape}"))
            wrong = ~np.isfinite(array) if name == "values" else np.isinf(array)  # NaN is a level that is not known
            if wrong.any():
                row, column = (int(i) for i in np.argwhere(wrong)[0])
                got = f"{array[row, column]} for {self.row_labels[row]} x {self.column_labels[column]}"
                raise InputError(message(f"SimilarityMatrix {name}", "finite numbers", got))
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def row_labels(self) -> tuple[str, ...]:
        """Names of the row layers."""
        return tuple(layer.name for layer in self.rows)

    @property
    def column_labels(self) -> tuple[str, ...]:
        """Names of the column layers."""
        return tuple(layer.name for layer in self.columns)

    def twin_matches(self) -> tuple[int, int]:
        """Count row layers that are most similar to the column layer of their own name, and those that have one.

        With one twin among L columns, unrelated networks would have one match in L (Kornblith et al. 2019, table 2).
        """
        best = self.values.argmax(axis=1)
        twins = [i for i, name in enumerate(self.row_labels) if name in self.column_labels]
        return sum(self.column_labels[best[i]] == self.row_labels[i] for i in twins), len(twins)

    def to_frame(self) -> pd.DataFrame:
        """Similarities as a pandas DataFrame labelled by layer."""
        import pandas as pd

        frame = pd.DataFrame(self.values.copy(), index=list(self.row_labels), columns=list(self.column_labels))
        return frame.rename_axis(index=self.row_title, columns=self.column_title)

    def _plain(self) -> dict[str, Any]:
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plain |= {"values": self.values.tolist(), "chance": plain_levels(self.chance)}
        return plain | {name: [asdict(entry) for entry in plain[name]] for name in ("rows", "columns", "warnings")}

    @classmethod
    def _from_plain(cls, plain: dict[str, Any], where: str) -> SimilarityMatrix:
        for side in ("rows", "columns"):
            plain[side] = tuple(LayerSummary(**layer) for layer in plain[side])
        return cls(**plain | {"warnings": tuple(Doubt(**doubt) for doubt in plain["warnings"])})

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw the matrix as a heatmap; return the figure and its axes.

        Args:
            ax: Where to draw; by default a new figure.
        """
        from svcca.plots.heatmap import plot_heatmap

        return plot_heatmap(
            self.values,
            self.chance,
            row_labels=self.row_labels,
            column_labels=self.column_labels,
            row_title=self.row_title,
            column_title=self.column_title,
            bar_label=f"{self.measure} similarity",
            title=f"{self.measure}, {self.n_samples:,} samples",
            ax=ax,
        )

    def report(self, path: PathLike) -> Path:
        """Write one self-contained HTML page: heatmap, table, ranks, chance level, warnings, how it was computed.

        Args:
            path: File to write; replaced if it exists.

        Returns:
            The path written.

        Raises:
            FileError: If the file cannot be written; nothing half-written is left behind.
        """
        return write_page(self, path)
