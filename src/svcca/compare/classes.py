"""Class sensitivity: how much of each class logit (or any other target) every layer already holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

from torch import Tensor, nn

from svcca.capture.batches import Batch, Forward, batches_of
from svcca.capture.hooks import Keep
from svcca.capture.rules import Observe, common_rule
from svcca.capture.sources import ArraySource, ModelSource, Source, kept
from svcca.capture.targets import LogitsSource, Targets, read_targets
from svcca.compare.by_measure import ByMeasure, one_or_by_measure
from svcca.compare.class_result import R2_POWERS, ClassSensitivity
from svcca.compare.pairs import compare_sources
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, SvccaWarning, message
from svcca.measures.measure import Measure
from svcca.measures.registry import MEASURES, get_measures


@overload
def class_sensitivity(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too
    model: nn.Module,
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    targets: Targets = "logits",
    measure: str | Measure = "svcca",
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    forward: Forward | None = None,
    progress: bool | None = None,
) -> ClassSensitivity: ...
@overload
def class_sensitivity(
    model: nn.Module,
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    targets: Targets = "logits",
    measure: Sequence[str | Measure],
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    forward: Forward | None = None,
    progress: bool | None = None,
) -> ByMeasure[ClassSensitivity]: ...
def class_sensitivity(
    model: nn.Module,
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    targets: Targets = "logits",
    measure: str | Measure | Sequence[str | Measure] = "svcca",
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    forward: Forward | None = None,
    progress: bool | None = None,
) -> ClassSensitivity | ByMeasure[ClassSensitivity]:
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
        measure: Name of a measure, or a measure; or several in a list, evaluated in the same pass from the same
            decompositions. "svcca" (default) is the correlation above.
        observe: What is a sample and what a feature; a rule that gives one row a sample. Maps observed by "fourier"
            correlate by their zero frequency alone, as by "pool", after an SVD step over all frequencies.
        retained_variance: Share of each layer's variance whose directions take part in measures with an SVD step.
        forward: Your own way to run the model: forward(model, batch).
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        Correlations, or values of the measure, with chance levels and the share beyond chance. For a list of measures a
        mapping from the label of each to these.

    Raises:
        InputError: For an output that is no (n_samples, n_classes), names that do not fit, a constant target, a
            measure of your own that bears the name of one of ours, and what `compare` refuses.
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
    chosen = measures_of_classes(measure, observe)
    source = ModelSource(model, layers, forward, f"a ({type(model).__name__})")
    columns = TargetColumns(targets, classes, source, forward)
    step = SVDStep(retained_variance)
    found = sensitivities_of(source, columns, batches_of(data), chosen, observe, step, progress)
    return one_or_by_measure(measure, found)


def measures_of_classes(measure: str | Measure | Sequence[str | Measure], observe: Observe) -> list[Measure]:
    """Return the measures that `measure=` names.

    Raises:
        UnknownOptionError: For a measure that does not exist, or is not defined for maps by frequency.
        InputError: For none, the same one twice, or one that is not ours and bears the name of a measure whose share
            beyond chance is known: a result holds the name alone.
    """
    chosen = get_measures(measure, frequency=common_rule(observe).by_frequency)
    for one in chosen:
        if one.label in R2_POWERS and type(one) is not type(MEASURES[one.label]):
            got = f"{one.label!r} for a {type(one).__name__}"
            raise InputError(message("measure", "a name of its own for your own measure", got))
    return chosen


def sensitivities_of(
    source: ModelSource,
    columns: Source,
    data: Iterable[Any],
    measures: Sequence[Measure],
    observe: Observe,
    step: SVDStep,
    progress: bool | None,
) -> list[ClassSensitivity]:
    """Compare every layer of a model with every column of its targets, in one pass; one result for each measure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SvccaWarning)
        matrices = compare_sources(
            source, columns, data, measures, step, observe, None, progress, targets=True, coupled_ranks=True
        )
    found = []
    for matrix in matrices:
        # The chance level stands in the result, so it is no warning here.
        doubts = tuple(doubt for doubt in matrix.warnings if doubt.kind != "chance")
        found.append(ClassSensitivity(replace(matrix, warnings=doubts, column_title="classes")))
    return found


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
