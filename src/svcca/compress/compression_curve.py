"""Accuracy against size: a network compressed to several sizes by several methods, at equal parameters."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from svcca.capture.batches import Forward, kept_batches
from svcca.capture.evaluations import Evaluate, measured
from svcca.capture.layers import unwrap
from svcca.compare.result import current_versions
from svcca.compress.compress import Against, Compressor
from svcca.compress.costs import n_parameters
from svcca.compress.ranks import Spectrum, least_ratio, ranks_for_ratio
from svcca.errors import InputError, SvccaWarning, few_rows, message
from svcca.io.documents import Document
from svcca.progress import track

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Methods = Sequence[str] | Mapping[str, Against]
"""What directions are chosen by: names of methods, or a mapping from a label to a method, target or other model."""

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
        """Return a row for each method and ratio, original first: parameters, share of it, accuracy, loss."""
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


def compression_curve(
    model: nn.Module,
    data: object,
    evaluate: Evaluate,
    *,
    ratios: Sequence[float] = (0.75, 0.5, 0.35, 0.25, 0.15),
    against: str | Methods = ("outputs", "logits", "pls", "pca", "weights"),
    layers: str | Sequence[str] | None = None,
    forward: Forward | None = None,
    progress: bool | None = None,
) -> CompressionCurve:
    """Compress a network to several sizes by several methods, and measure how good each result is.

    Args:
        model: The network; left as it is.
        data: Inputs on which layers are measured, as for `compress`.
        evaluate: evaluate(model) -> float, higher is better; called in evaluation mode.
        ratios: Weights after over weights before, of the chosen layers together, each in (0, 1]. Where a single
            direction a layer is more than a ratio allows, that ratio is left out, with a warning that is recorded.
        against: Methods, as for `compress`; or a mapping from a label to a method, a target or another model.
        layers: Names or glob patterns of linear layers and convolutions; default: all that can be compressed.
        forward: Your own way to run the model: forward(model, batch).
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        A `CompressionCurve`: parameters and accuracy by method and ratio, beside those of the original.

    Raises:
        LayerError: For a layer that is not there.
        InputError: For a ratio outside (0, 1], no ratio or method at all, an `evaluate` that gives no finite number,
            and whatever `compress` refuses.
        UnknownOptionError: For another method.

    Cost:
        For each method and ratio a `compress` and an evaluation; the first measurement is shared by all ratios.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 4.4 and appendix figure 5.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 5)).eval()
    >>> x = torch.randn(500, 20)
    >>> def agreement(other):
    ...     return float((other(x).argmax(1) == net(x).argmax(1)).float().mean())
    >>> curve = compression_curve(net, x, agreement, ratios=(0.6,), against=("pca", "weights"))
    >>> [(point.method, point.ratio) for point in curve.points]
    [('pca', 0.6), ('weights', 0.6)]
    """
    methods, wanted = _methods(against), _ratios(ratios)
    original = unwrap(model)
    batches = kept_batches(data, type(original).__name__)
    # All at once and before any work: whatever a method or a layer's name has wrong is said here.
    compressors = {
        label: Compressor(original, batches, method, forward, False, None) for label, method in methods.items()
    }
    chosen = next(iter(compressors.values())).choose(layers)
    accuracy = measured(evaluate, original)
    points, spectra = [], dict[str, list[Spectrum]]()
    too_small = dict[float, float]()
    work = [(label, ratio) for label in compressors for ratio in wanted]
    for label, ratio in track(work, "Compressing", progress):
        if label not in spectra:
            spectra[label] = compressors[label].spectra(chosen)
        least = least_ratio(spectra[label])
        if least > ratio:
            too_small[ratio] = least
            continue
        smaller = compressors[label].compressed(ranks_for_ratio(spectra[label], ratio))
        points.append(CompressionPoint(label, ratio, n_parameters(smaller), measured(evaluate, smaller)))
    notes = tuple(
        f"Ratio {ratio:g} was left out: one direction a layer takes {least:.3g} of the weights already."
        for ratio, least in too_small.items()
    )
    too_few = {name: sizes for each in compressors.values() for name, sizes in each.too_few.items()}
    notes += tuple(few_rows("compression_curve", "inputs", too_few))
    for note in notes:
        warnings.warn(note, SvccaWarning, stacklevel=2)
    title = type(original).__name__
    return CompressionCurve(tuple(points), n_parameters(original), accuracy, tuple(chosen), title, notes)


def _methods(against: str | Methods) -> dict[str, Against]:
    """Read the methods that a user asked for as a mapping from label to method."""
    methods: dict[str, Against]
    if isinstance(against, Mapping):
        methods = {str(label): method for label, method in against.items()}
    else:
        names = [against] if isinstance(against, (str, nn.Module)) else list(against)
        unnamed = [name for name in names if not isinstance(name, str)]
        if unnamed:
            got, remedy = type(unnamed[0]).__name__, 'Pass a mapping: {"two seeds": other}'
            raise InputError(message("compression_curve against", "names of methods", got, "", remedy))
        methods = {name: name for name in names}
    if not methods or ORIGINAL in methods:
        got = "none" if not methods else f"a method called {ORIGINAL!r}, as the network itself is"
        raise InputError(message("compression_curve against", "at least one method", got))
    return methods


def _ratios(ratios: Sequence[float]) -> list[float]:
    """Read ratios, each once, in the order given."""
    found = list(dict.fromkeys(float(ratio) for ratio in ratios))
    wrong = [ratio for ratio in found if not 0 < ratio <= 1]
    if wrong or not found:
        got = f"{wrong[0]:g}" if wrong else "none"
        raise InputError(message("compression_curve ratios", "shares in (0, 1]", got))
    return found
