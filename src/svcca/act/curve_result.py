"""Accuracy against size, as a result: a point a method and ratio, beside the network itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svcca.compare.result import current_versions
from svcca.errors import FileError, message
from svcca.files import PathLike, read_json, unwrapped_document, write_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMAT = "svcca.compression_curve"
FORMAT_VERSION = 1

ORIGINAL = "original"
"""What the network itself is called beside the methods."""


@dataclass(frozen=True)
class CompressionPoint:
    """A network compressed by one method to one size.

    Attributes:
        method: Label of the method.
        ratio: Weights of the chosen layers after over before that were asked for.
        parameters: Of the whole network.
        accuracy: What the user's evaluate says of it.
    """

    method: str
    ratio: float
    parameters: int
    accuracy: float


@dataclass(frozen=True)
class CompressionCurve:
    """Accuracy of a network against its size, by method.

    Attributes:
        points: By method, then by ratio, in the order asked for.
        parameters: Of the original.
        accuracy: Of the original.
        layers: Those that were compressed.
        title: The network.
        warnings: What a reader must know, in plain words.
        versions: Versions of svcca, torch and Python.
    """

    points: tuple[CompressionPoint, ...]
    parameters: int
    accuracy: float
    layers: tuple[str, ...]
    title: str = ""
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=current_versions)

    @property
    def methods(self) -> tuple[str, ...]:
        """Labels of the methods."""
        return tuple(dict.fromkeys(point.method for point in self.points))

    def to_frame(self) -> pd.DataFrame:
        """Give a row a method and ratio, the original first: parameters, share of the original's, accuracy, loss."""
        import pandas as pd

        points = [CompressionPoint(ORIGINAL, 1.0, self.parameters, self.accuracy), *self.points]
        frame = pd.DataFrame([asdict(point) for point in points]).set_index(["method", "ratio"])
        frame.insert(1, "share", frame["parameters"] / self.parameters)
        frame["accuracy_lost"] = self.accuracy - frame["accuracy"]
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types."""
        return {"format": FORMAT, "version": FORMAT_VERSION, **asdict(self)}

    def save(self, path: PathLike) -> Path:
        """Write the curve as JSON; nothing half-written is left behind.

        Raises:
            FileError: If the file cannot be written.
        """
        return write_text(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: PathLike) -> CompressionCurve:
        """Read a curve that `save` wrote.

        Raises:
            FileError: If the file is missing, is no such JSON, or comes from a newer version.
        """
        where = f"load {path}"
        plain = unwrapped_document(read_json(path, cls.__name__), FORMAT, FORMAT_VERSION, where)
        try:
            points = tuple(CompressionPoint(**point) for point in plain.pop("points"))
            tuples = {name: tuple(plain[name]) for name in ("layers", "warnings")}
            return cls(**plain | tuples | {"points": points})
        except (TypeError, KeyError) as error:
            raise FileError(message(where, "every field of a CompressionCurve", str(error))) from error

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw accuracy against parameters, a line a method, the original at its right; returns figure and axes.

        Args:
            ax: Where to draw; by default a new figure.
        """
        from svcca.report.compression import plot_compression

        return plot_compression(self, ax)
