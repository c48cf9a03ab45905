"""Accuracy against size, as a result: a point a method and ratio, beside the network itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from svcca.compare.result import current_versions
from svcca.io.documents import Document

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
class CompressionCurve(Document):
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

    _FORMAT: ClassVar[str] = FORMAT
    _VERSION: ClassVar[int] = FORMAT_VERSION

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

    def _plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def _from_plain(cls, plain: dict[str, Any], where: str) -> CompressionCurve:
        points = tuple(CompressionPoint(**point) for point in plain.pop("points"))
        tuples = {name: tuple(plain[name]) for name in ("layers", "warnings")}
        return cls(**plain | tuples | {"points": points})

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw accuracy against parameters, a line a method, the original at its right; return the figure and its axes.

        Args:
            ax: Where to draw; by default a new figure.
        """
        from svcca.plots.size_curves import plot_size_curves

        n_layers = len(self.layers)
        compressed = f"{n_layers} layer{'s' if n_layers != 1 else ''} compressed"
        return plot_size_curves(
            [point.method for point in self.points],
            [point.parameters for point in self.points],
            [point.accuracy for point in self.points],
            original=(self.parameters, self.accuracy),
            title=f"{self.title}, {compressed}" if self.title else compressed,
            ax=ax,
        )
