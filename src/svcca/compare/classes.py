"""Class sensitivity: how much of each class logit (or any other target) every layer already holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from svcca.capture.batches import Batch, Forward, batches_of
from svcca.capture.hooks import Keep
from svcca.capture.rules import Observe
from svcca.capture.sources import ArraySource, ModelSource, Source, kept
from svcca.capture.targets import LogitsSource, Targets, read_targets
from svcca.compare.pairs import compare_sources
from svcca.compare.result import SimilarityMatrix
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, SvccaWarning, message
from svcca.measures.cca import SVCCA

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
            title=f"{self.matrix.row_title}, {self.matrix.n_samples:,} samples",
            ax=ax,
        )


def class_sensitivity(
    model: nn.Module,
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    targets: Targets = "logits",
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    forward: Forward | None = None,
    progress: bool | None = None,
) -> ClassSensitivity:
    """Correlate every layer with every class logit: where in a network does a class become readable?

    For one logit CCA is least squares: the correlation is the root of the R2 of the logit on the layer's leading
    directions. Convolutional maps take part by the mean of each channel, all that can correlate with something that
    does not move with the image. Of targets="labels", classes without a sample are left out; `matrix.warnings` names
    them.

    Args:
        model: A model whose output is (n_samples, n_classes), or holds such `logits`.
        data: Its inputs, as for `compare`.
        layers: Names or glob patterns; default: every leaf module.
        classes: Names of the logits (or of the columns of `targets`), in order; default: "0", "1", ...
        targets: What layers are correlated with, as for `compare`, column by column: "logits" (default), "labels", an
            array or a mapping from names to (n_samples,), a function of the batch, (other_model, "layer").
        observe: What is a sample and what a feature; a rule that gives one row a sample. Maps observed by "fourier"
            correlate by their zero frequency alone, as by "pool", after an SVD step over all frequencies.
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
        One forward pass, and what `compare` costs.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 4.3 and figure 6.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> found = class_sensitivity(net, torch.randn(500, 8), classes=["cat", "dog", "bird"])
    >>> found.values.shape, found.values[-1].round(6).tolist()
    ((3, 3), [1.0, 1.0, 1.0])
    """
    source = ModelSource(model, layers, forward, f"a ({type(model).__name__})")
    columns = TargetColumns(targets, classes, source, forward)
    return sensitivity_of(source, columns, batches_of(data), observe, SVDStep(retained_variance), progress)


def sensitivity_of(
    source: ModelSource, columns: Source, data: Iterable[Any], observe: Observe, step: SVDStep, progress: bool | None
) -> ClassSensitivity:
    """Correlate every layer of a model with every column of its targets, in one pass over the data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SvccaWarning)
        (matrix,) = compare_sources(
            source, columns, data, [SVCCA()], step, observe, None, progress, targets=True, coupled_ranks=True
        )
    # The chance level stands in the result, so it is no warning here.
    doubts = tuple(doubt for doubt in matrix.warnings if doubt.kind != "chance")
    return ClassSensitivity(replace(matrix, warnings=doubts, column_title="classes"))


class TargetColumns(Source):
    """Targets taken apart into single columns, each with its name; none may be constant, but for labels.

    Args:
        targets: The targets, as a user passed them.
        classes: Names of the columns; None numbers them, or takes those of a mapping.
        model: The model that they are held against.
        forward: The user's own way to run models.

    Raises:
        UnknownOptionError: For a name of targets that does not exist.
        InputError: For anything that is no target, names that do not fit, or arrays of which a column is constant.
    """

    title = "targets"

    def __init__(
        self, targets: Targets, classes: Sequence[str] | None, model: ModelSource, forward: Forward | None
    ) -> None:
        where = "class_sensitivity targets"
        self._named = isinstance(targets, Mapping)
        if self._named and classes is not None:
            raise InputError(message(where, "classes for an array of targets", "a mapping that has names"))
        self._names = None if classes is None else [str(name) for name in classes]
        self._source = read_targets(targets, LogitsSource(model, "targets"), forward, where)
        self.device, self._of = self._source.device, f"{model.title}, "
        self.captured = self._source.captured
        self._first: dict[str, Tensor] = {}
        self._varying: set[str] = set()
        self._of_labels = isinstance(targets, str) and targets == "labels"
        if isinstance(self._source, ArraySource) and self._source.n_samples:  # it need not wait for a pass
            self._of = ""
            self._columns(self._source.arrays)
            self._check_varying()

    def __enter__(self) -> Source:
        self._source.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._source.__exit__(*details)

    def tensors(self, batch: Batch, keep: Keep | None = None) -> dict[str, Tensor]:
        """Return the columns of this batch, (n_samples, 1) each."""
        return kept(self._columns(self._source.tensors(batch)), keep)

    def finish(self, n_samples: int) -> None:
        """Check that there were as many targets as samples, and that every column varies."""
        self._source.finish(n_samples)
        self._check_varying()

    def named_outright(self, label: str) -> bool:
        """Whether a column cannot be left out quietly: that of a class of which there is no sample can."""
        return not self._of_labels

    def _columns(self, blocks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take blocks apart, and remember which columns have been seen to vary."""
        columns: dict[str, Tensor] = {}
        for block_name, block in blocks.items():
            if block.ndim != 2 or (self._named and block.shape[1] != 1):
                expected = "shape (n_samples,)" if self._named else "shape (n_samples, n_targets)"
                raise InputError(message(f"target {block_name!r}", expected, f"shape {tuple(block.shape)}"))
            names = [block_name] if self._named else self._names or [str(index) for index in range(block.shape[1])]
            if len(names) != block.shape[1] or len(set(names)) != len(names):
                got = f"{len(set(names))} different ones"
                raise InputError(message("classes", f"a name for each of {block.shape[1]} logits", got))
            columns |= {name: block[:, index : index + 1] for index, name in enumerate(names)}
        for name, column in columns.items():
            first = self._first.setdefault(name, column[:1].clone())
            if name not in self._varying and bool((column != first).any()):
                self._varying.add(name)
        return columns

    def _check_varying(self) -> None:
        constant = [name for name in self._first if name not in self._varying]
        if constant and not (self._of_labels and self._varying):
            cause = "A class that never occurs, or a logit that does not depend on the input"
            remedy = "Leave it out, or pass targets= that vary"
            where = f"{self._of}target {constant[0]!r}"
            raise InputError(message(where, "a value that varies between samples", "a constant", cause, remedy))
