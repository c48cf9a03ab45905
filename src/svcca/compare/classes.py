"""Class sensitivity: how much of each class logit (or any other target) every layer already holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from svcca.capture.batches import Forward, call, device_of, to_device
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.capture.layers import unwrap
from svcca.capture.rules import Observe, fourier_rule
from svcca.capture.sources import ArraySource, ModelSource
from svcca.compare.pairs import check_patterns, compare_sources
from svcca.compare.result import SimilarityMatrix
from svcca.compare.snapshots import probe_of
from svcca.core.arrays import ArrayLike, to_tensor
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, SvccaWarning, message
from svcca.measures.cca import SVCCA

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Targets = ArrayLike | Mapping[str, ArrayLike]
"""An array (n_samples,) or (n_samples, n_targets), or a mapping from a target's name to (n_samples,)."""


@dataclass(frozen=True, eq=False)
class ClassSensitivity:
    """Correlation of every layer with every class logit: the most that any direction of the layer has with it.

    Attributes:
        matrix: Correlations as a `SimilarityMatrix`: layers in rows, classes in columns, with ranks, chance levels, the
            number of samples and warnings.
    """

    matrix: SimilarityMatrix

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """Correlations, (n_layers, n_classes), in [0, 1]."""
        return self.matrix.values

    @property
    def chance(self) -> npt.NDArray[np.float64]:
        """What noise in place of the logit would give: a wide layer correlates with anything, (n_layers, n_classes)."""
        return self.matrix.chance

    @property
    def corrected(self) -> npt.NDArray[np.float64]:
        """Share of the logit's variance that the layer holds beyond chance, (R2 - b) / (1 - b), b = rank / (n - 1).

        (n_layers, n_classes); about 0 for noise, 1 for all of it; 0 where a layer has as many directions as samples and
        would hold anything.
        """
        ranks = np.array([layer.rank for layer in self.matrix.rows])[:, None]
        level = np.minimum(1.0, ranks / (self.matrix.n_samples - 1))
        room = np.where(level < 1, 1 - level, 1.0)
        return np.where(level < 1, (self.values**2 - level) / room, 0.0)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of execution."""
        return self.matrix.row_labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.matrix.column_labels

    def to_frame(self) -> pd.DataFrame:
        """A row a layer and class: correlation, chance level, the share beyond chance, the layer's rank."""
        import pandas as pd

        n_classes = len(self.classes)
        index = pd.MultiIndex.from_product([self.layers, self.classes], names=["layer", "class"])
        ranks = np.repeat([layer.rank for layer in self.matrix.rows], n_classes)
        columns = {"correlation": self.values, "chance": self.chance, "beyond chance": self.corrected}
        frame = pd.DataFrame({name: array.ravel() for name, array in columns.items()}, index=index)
        return frame.assign(rank=ranks)

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw a line a class over the layers, with the chance level; returns figure and axes."""
        from svcca.plots.classes import plot_classes

        return plot_classes(self, ax)


def class_sensitivity(
    model: nn.Module,
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    targets: Targets | None = None,
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    forward: Forward | None = None,
    progress: bool | None = None,
) -> ClassSensitivity:
    """Correlate every layer with every class logit: where in a network does a class become readable?

    For one logit CCA is least squares: the correlation is the root of the R2 of the logit on the layer's leading
    directions. Convolutional maps take part by the mean of each channel, all that can correlate with something that
    does not move with the image.

    Args:
        model: A model whose output is (n_samples, n_classes), or holds such `logits`.
        data: Its inputs, as for `compare`; batches are kept.
        layers: Names or glob patterns; default: every leaf module.
        classes: Names of the logits (or of the columns of `targets`), in order; default: "0", "1", ...
        targets: Anything else to correlate with, over the same samples in place of the logits: one-hot labels, another
            network's outputs.
        observe: What is a sample and what a feature; a rule that gives one row a sample.
        retained_variance: Share of each layer's variance whose directions may take part.
        forward: Your own way to run the model: forward(model, batch).
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        Correlations with chance levels and the share beyond chance.

    Raises:
        InputError: For an output that is no (n_samples, n_classes), names that do not fit, a constant target, and what
            `compare` refuses.
        SampleError: For targets of another number of samples.

    Cost:
        Two forward passes, and what `compare` costs.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 4.3 and figure 6.

    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> found = class_sensitivity(net, torch.randn(500, 8), classes=["cat", "dog", "bird"])
    >>> found.values.shape, found.values[-1].round(6).tolist()
    ((3, 3), [1.0, 1.0, 1.0])
    """
    probe = probe_of(data)
    title = f"a ({type(model).__name__})"
    source = ModelSource(model, layers, forward, title)
    named = logits_of(model, probe, classes, forward, title) if targets is None else named_targets(targets, classes)
    return sensitivity_of(source, named, probe, observe, SVDStep(retained_variance), progress)


def sensitivity_of(
    source: ModelSource,
    named: Mapping[str, Tensor],
    probe: Sequence[Any],
    observe: Observe,
    step: SVDStep,
    progress: bool | None,
) -> ClassSensitivity:
    """Correlate every layer of a model with every named target, over the same samples."""
    check_patterns([source])
    # Numbered while they are compared: a class may be called anything, a pattern or a layer's name too.
    columns = {f"target {index}": column for index, column in enumerate(named.values())}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SvccaWarning)
        (matrix,) = compare_sources(
            source,
            ArraySource(columns, None, "targets"),
            probe,
            [SVCCA()],
            step,
            _with_targets(observe, columns),
            None,
            progress,
        )
    return ClassSensitivity(_relabelled(matrix, dict(zip(columns, named, strict=True))))


def _with_targets(observe: Observe, columns: Iterable[str]) -> Observe:
    """The rule for the layers; targets are vectors, whatever the layers are."""
    if fourier_rule(observe) is not None:
        raise InputError(message("class sensitivity", "a rule that gives rows", "'fourier'", "", "Use 'pool'"))
    if observe == "auto":
        return observe
    rest = observe if isinstance(observe, Mapping) else {"*": observe}
    return {**dict.fromkeys(columns, "flatten"), **rest}


def logits_of(
    model: nn.Module, probe: Sequence[Any], classes: Sequence[str] | None, forward: Forward | None, title: str
) -> dict[str, Tensor]:
    """Logits of a model by the names of their classes, each (n_samples,), on the CPU.

    Raises:
        InputError: For an output that is no (n_samples, n_classes), a logit that is constant, names that do not fit.
    """
    network = unwrap(model)
    device, pieces = device_of(network), []
    with evaluating(network), preserved_rng([device]), torch.no_grad():
        for number, batch in enumerate(probe):
            output = call(network, to_device(batch, device), forward)
            remedy = "Pass targets=, an array (n_samples, n_targets)"
            pieces.append(logits_in(output, f"{title}, batch {number}", remedy).cpu())
    return named_targets(torch.cat(pieces), classes, f"{title}, ")


def logits_in(output: object, where: str, remedy: str) -> Tensor:
    """Find the logits, (n_samples, n_classes), in what a model returns: itself, or what it calls `logits`.

    Raises:
        InputError: If there are none of that shape.
    """
    output = getattr(output, "logits", output)
    output = output.get("logits", output) if isinstance(output, Mapping) else output
    if not isinstance(output, Tensor) or output.ndim != 2:
        got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise InputError(message(where, "an output (n_samples, n_classes)", got, "", remedy))
    return output


def _relabelled(matrix: SimilarityMatrix, names: Mapping[str, str]) -> SimilarityMatrix:
    """Put the classes' names in place of numbers. The chance level stands in the result, so it is no warning here."""
    columns = tuple(replace(layer, name=names[layer.name]) for layer in matrix.columns)
    doubts = tuple(doubt for doubt in matrix.warnings if doubt.kind != "chance")
    return replace(matrix, columns=columns, warnings=doubts, column_title="classes")


def named_targets(targets: Targets, classes: Sequence[str] | None, of: str = "") -> dict[str, Tensor]:
    """Give each target its name: (n_samples,) arrays by name. Messages are led by what they are the targets `of`.

    Raises:
        InputError: For shapes or names that do not fit, or a target that is constant.
    """
    if isinstance(targets, Mapping):
        if classes is not None:
            raise InputError(
                message("class_sensitivity", "classes for an array of targets", "a mapping that has names")
            )
        named = {str(name): to_tensor(array, f"target {name!r}") for name, array in targets.items()}
        return {name: _one_varying(column.squeeze(), f"{of}target {name!r}") for name, column in named.items()}
    array = to_tensor(targets, "targets")
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise InputError(message("targets", "shape (n_samples, n_targets)", f"shape {tuple(array.shape)}"))
    names = [str(i) for i in range(array.shape[1])] if classes is None else [str(name) for name in classes]
    if len(names) != array.shape[1] or len(set(names)) != len(names):
        got = f"{len(set(names))} different ones"
        raise InputError(message("classes", f"a name for each of {array.shape[1]} logits", got))
    return {name: _one_varying(array[:, index], f"{of}target {name!r}") for index, name in enumerate(names)}


def _one_varying(column: Tensor, where: str) -> Tensor:
    """Check that a target is one number a sample, and not the same for all."""
    if column.ndim != 1:
        raise InputError(message(where, "shape (n_samples,)", f"shape {tuple(column.shape)}"))
    if len(column) and bool((column == column[0]).all()):
        cause = "A class that never occurs, or a logit that does not depend on the input"
        remedy = "Leave it out, or pass targets= that vary"
        raise InputError(message(where, "a value that varies between samples", "a constant", cause, remedy))
    return column
