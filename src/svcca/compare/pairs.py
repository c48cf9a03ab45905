"""Every layer of one network against every layer of another: `compare`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from torch import nn

from svcca.capture.accumulate import run_pass
from svcca.capture.batches import Forward, batches_of
from svcca.capture.rules import Observe, common_rule
from svcca.capture.sources import ArraySource, ModelSource, Source
from svcca.capture.targets import LogitsSource, OtherLayer, Targets, read_targets
from svcca.compare.by_measure import ByMeasure, one_or_by_measure
from svcca.compare.matrices import (
    similarity_matrices,
    with_remark,
    with_remark_on_dependence,
    with_remark_on_pooling,
)
from svcca.compare.result import SimilarityMatrix
from svcca.core.arrays import ArrayLike
from svcca.core.subspace import WHOLE, SVDStep
from svcca.errors import Doubt, InputError, SvccaWarning, message
from svcca.io.files import PathLike
from svcca.io.store import load_activations
from svcca.measures.measure import Measure
from svcca.measures.registry import get_measures

Network = nn.Module | Mapping[str, ArrayLike] | PathLike
"""What can be compared: a model, a mapping layer name -> array, or a file of saved activations."""


@overload
def compare(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too
    a: Network,
    b: Network | None = None,
    data: object = None,
    *,
    layers: str | Sequence[str] | None = None,
    targets: Targets | None = None,
    measure: str | Measure = "svcca",
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    forward: Forward | None = None,
    memory_budget: int | None = None,
    progress: bool | None = None,
) -> SimilarityMatrix: ...
@overload
def compare(
    a: Network,
    b: Network | None = None,
    data: object = None,
    *,
    layers: str | Sequence[str] | None = None,
    targets: Targets | None = None,
    measure: Sequence[str | Measure],
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    forward: Forward | None = None,
    memory_budget: int | None = None,
    progress: bool | None = None,
) -> ByMeasure[SimilarityMatrix]: ...
def compare(
    a: Network,
    b: Network | None = None,
    data: object = None,
    *,
    layers: str | Sequence[str] | None = None,
    targets: Targets | None = None,
    measure: str | Measure | Sequence[str | Measure] = "svcca",
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    forward: Forward | None = None,
    memory_budget: int | None = None,
    progress: bool | None = None,
) -> SimilarityMatrix | ByMeasure[SimilarityMatrix]:
    """Compare every layer of one network with every layer of another, in one pass over the data.

    Both networks see the same batches. Each layer is decomposed once; a pair then costs a small product. Memory does
    not grow with the number of samples. Models are run in evaluation mode without gradients and handed back as they
    were: mode, hooks, gradients, random state, also when a batch raises.

    Args:
        a: A model, a mapping from layer name to an array with samples first, or the path of an .npz or .safetensors
            file of such arrays.
        b: The same; None compares `a` with itself.
        data: What the models see: a loader (any iterable of batches), one tensor, or a dict of tensors. A batch is a
            tensor, a tuple (inputs, labels), of which the first part is passed, or a dict, passed as keywords. It is
            moved to the model's device. Not needed where both networks are arrays.
        layers: Names or glob patterns ("layer?.*"; "!head" leaves one out), for both networks. Default: every leaf
            module that gives a tensor. "lstm:1.0" is one tensor of several in a module's output.
        targets: What each layer of `a` is held against in place of another network, as the columns: "logits", the
            model's own; "labels", those of each batch, integers one-hot over as many classes as there are logits; an
            array (n_samples, q) or (n_samples,) over all samples, or a mapping from names to such arrays; a function of
            the batch, f(batch) -> array; (other_model, "layer"). Layers then give one row a sample.
        measure: Name of a measure, "svcca" by default (`svcca.MEASURES` lists them), or a measure, such as
            `svcca.measures.PWCCA(side="x")` or your own. Several in a list are evaluated from the same decompositions.
        observe: What is a sample and what a feature: "flatten", "pixels", "pool", "tokens", "last_token",
            "mean_token", "interpolate", "fourier", a rule such as `Pixels(n_positions=64)`, or a mapping from layer
            name or pattern to a rule.
            "auto" (default) goes by the output's rank and what the layers can be compared over; the result says what
            it chose. Padding in a batch's `attention_mask` is left out by the three token rules. "fourier" is for
            convolutional layers, exact under the conditions that the guide gives.
        retained_variance: Share of each layer's variance that the SVD step of "svcca" keeps. Default 0.99. Targets are
            not cut, other than a layer of another model.
        forward: Your own way to run a model on a batch: forward(model, batch).
        memory_budget: Bytes that the moments, or the rows where these are smaller, may take; more is an error before
            it is a crash. Default: no limit.
        progress: Whether to show a bar; None (default) shows one on a terminal.

    Returns:
        Similarities, layers in order of execution, with ranks, chance levels, sample count and warnings. For a list of
        measures a mapping from the label of each ("pwcca(side='x')") to its matrix.

    Raises:
        LayerError: For a layer or pattern that is not there; the closest names are offered.
        InputError: For anything about a batch or layer that cannot be compared (NaN, unequal rows, changing widths,
            integers, a constant layer, too few samples); the message names the network, the layer and the batch.
        FileError: For a file that cannot be read as activations.

    Cost:
        For n samples, layers of widths p_i and q_j: the forward passes, 2 n (sum p_i^2 + sum q_j^2 + sum p_i sum q_j)
        operations and one eigendecomposition a layer. Memory: one batch's activations and the moments of all layers
        and pairs (or the rows themselves, where those are smaller).

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> first = rng.normal(size=(1000, 8))
    >>> matrix = compare({"one": first, "two": np.tanh(first @ rng.normal(size=(8, 8)))})
    >>> matrix.row_labels, bool(matrix.values[0, 0] > 0.999999)
    (('one', 'two'), True)
    >>> compare({"one": first}, targets={"size": np.linalg.norm(first, axis=1), "sum": first.sum(axis=1)}).column_labels
    ('size', 'sum')
    """
    chosen = get_measures(measure, frequency=common_rule(observe).by_frequency)
    step = SVDStep(retained_variance)
    if b is a:
        b = None
    first = _source(a, layers, forward, "a")
    second = None if b is None else _source(b, layers, forward, "b")
    if targets is not None:
        if second is not None:
            raise InputError(message("compare", "a second network or targets", "both"))
        logits = LogitsSource(first, "targets") if isinstance(first, ModelSource) else None
        second = read_targets(targets, logits, forward, "compare targets")
    batches = _batches(data, first, second)
    found = compare_sources(
        first, second, batches, chosen, step, observe, memory_budget, progress, targets=targets is not None
    )
    return one_or_by_measure(measure, found)


def compare_sources(
    first: Source,
    second: Source | None,
    batches: Iterable[Any] | None,
    measures: Sequence[Measure],
    step: SVDStep,
    observe: Observe,
    memory_budget: int | None,
    progress: bool | None,
    *,
    targets: bool = False,
    coupled_ranks: bool = False,
) -> list[SimilarityMatrix]:
    """Compare every layer of one source with every layer of another, with targets or with its own; see `compare`.

    Args:
        first: The network of the rows.
        second: The network, or the targets, of the columns; None compares `first` with itself.
        batches: Batches of the data; None where both are arrays.
        measures: The measures.
        step: The SVD step of the measures that have one.
        observe: Observation rule, or rules by layer.
        memory_budget: Bytes that the sums may take; None sets no limit.
        progress: Whether to show a bar; None: on a terminal.
        targets: Whether `second` holds targets.
        coupled_ranks: Whether the rank of a row counts only directions that can correlate with the first column.
    """
    rule = common_rule(observe)
    batches = rule.presented(batches, captured=first.captured or (second is not None and second.captured))
    accumulator = rule.accumulator(
        self_comparison=second is None,
        keep_rows=any(measure.needs_rows for measure in measures),
        memory_budget=memory_budget,
    )
    passed = run_pass(first, second, batches, observe, accumulator, progress, targets=targets)
    # The small directions of logits and arrays may be the ones that decide, and which are small is a matter of units.
    column_step = WHOLE if targets and not isinstance(second, OtherLayer) else step
    matrices = similarity_matrices(
        passed, measures, step, progress, column_step=column_step, coupled_ranks=coupled_ranks
    )
    for doubt in dict.fromkeys(doubt for matrix in matrices for doubt in matrix.warnings):
        warnings.warn(doubt.text, SvccaWarning, stacklevel=3)
    remarked = []
    for matrix, measure in zip(matrices, measures, strict=True):
        matrix = with_remark_on_dependence(matrix, measure, passed.networks[0].n_inputs)
        if remark := rule.remark(matrix.n_samples):
            matrix = with_remark(matrix, Doubt("dependence", remark))
        remarked.append(with_remark_on_pooling(matrix, passed.networks))
    return remarked


def _source(network: Network, layers: str | Sequence[str] | None, forward: Forward | None, side: str) -> Source:
    if isinstance(network, nn.Module):
        return ModelSource(network, layers, forward, f"{side} ({type(network).__name__})")
    if isinstance(network, Mapping):
        return ArraySource(network, layers, side)
    if isinstance(network, (str, Path)) or hasattr(network, "__fspath__"):
        return ArraySource(load_activations(network), layers, str(network))
    expected = "a model, a mapping from layer name to array, or a path"
    remedy = "For two arrays use svcca.svcca(x, y)"
    raise InputError(message(f"compare {side}", expected, type(network).__name__, "", remedy))


def _batches(data: object, first: Source, second: Source | None) -> Iterable[Any] | None:
    given = [source for source in (first, second) if source is not None]
    live = [source.title for source in given if isinstance(source, ModelSource)]
    if data is None and live:
        remedy = "Pass a loader, a tensor or a dict of tensors as the third argument or as data="
        raise InputError(message("compare", f"data to run {' and '.join(live)} on", "none", "", remedy))
    if data is not None and not live:
        cause = "Both networks are arrays, so there is nothing to run"
        raise InputError(message("compare", "no data beside captured activations", type(data).__name__, cause))
    return None if data is None else batches_of(data)
