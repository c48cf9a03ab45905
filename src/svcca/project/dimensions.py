"""The number of dimensions that each layer of a model uses, as one table: `intrinsic_dimensions`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from svcca.capture.batches import Forward
from svcca.capture.evaluations import Evaluate, trial, value_of
from svcca.capture.rules import Observe
from svcca.capture.sources import ModelSource
from svcca.core.directions import Form
from svcca.core.subspace import Subspace, SVDStep
from svcca.errors import InputError, RankError, SvccaWarning, message
from svcca.progress import track
from svcca.project.directions import Against, LayerDirections, directions_of, target_of
from svcca.project.layer_moments import LayerMoments, measure_layers
from svcca.project.project import project
from svcca.project.projection_curve import check_tolerance

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LayerDimensions:
    """How many dimensions one layer uses.

    Attributes:
        layer: Name of the layer.
        observation: "flatten", "pixels" or "tokens".
        width: Units, channels, or features of a token.
        rank: Numerical rank: along how many directions it varies at all.
        kept_rank: How many principal directions hold the retained share of its variance.
        needed: Smallest k of the chosen directions that keeps the value within the tolerance; None without `evaluate`.
        value: The value at that k; None without `evaluate`.
    """

    layer: str
    observation: str
    width: int
    rank: int
    kept_rank: int
    needed: int | None = None
    value: float | None = None


@dataclass(frozen=True)
class IntrinsicDimensions:
    """How many dimensions the layers of a model use.

    Attributes:
        layers: A row a layer, in order of execution.
        retained_variance: Share of variance that `kept_rank` holds.
        kind: Kind of directions that `needed` counts.
        tolerance: What may be lost there.
        unprojected: Value of the model as it is; None without `evaluate`.
        title: The model.
        warnings: What a reader should know: layers left out.
    """

    layers: tuple[LayerDimensions, ...]
    retained_variance: float
    kind: str
    tolerance: float
    unprojected: float | None
    title: str = ""
    warnings: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return a row a layer: rule, width, ranks, and the number needed and its value where they were measured."""
        import pandas as pd

        frame = pd.DataFrame(list(self.layers)).set_index("layer").astype({"needed": "Int64", "value": "float64"})
        return frame.drop(columns=["needed", "value"]) if self.unprojected is None else frame

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw a bar a layer: its width, kept rank and what is needed; return the figure and its axes.

        Args:
            ax: Where to draw; by default a new figure.
        """
        from svcca.plots.dimension_bars import plot_dimension_bars

        return plot_dimension_bars(
            [row.layer for row in self.layers],
            [row.width for row in self.layers],
            [row.kept_rank for row in self.layers],
            [None if self.unprojected is None else row.needed for row in self.layers],
            kept_label=f"{self.retained_variance:.0%} of variance",
            needed_label=f"enough to lose at most {self.tolerance:g}\n({self.kind})",
            title=self.title,
            ax=ax,
        )


def intrinsic_dimensions(
    model: nn.Module,
    data: object,
    layers: str | Sequence[str] | None = None,
    evaluate: Evaluate | None = None,
    tolerance: float = 0.01,
    *,
    against: Against = "pca",
    method: str | None = None,
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    form: Form = "data",
    forward: Forward | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> IntrinsicDimensions:
    """Count the dimensions that each layer of a model uses: by variance, and by what can be left out unharmed.

    The smallest k is found by bisection, one layer at a time with the others as they are. That assumes that a value
    within the tolerance at k stays so at every larger k; where a curve wavers about the tolerance, k is one of the
    places where it crosses (`projection_curve` shows all).

    Args:
        model: The model; it is evaluated in evaluation mode and handed back as it was.
        data: Its inputs, as for `compare`.
        layers: Names or glob patterns. Default: every leaf module; those that run several times in a forward pass or do
            not put samples first are left out, with a warning.
        evaluate: A function evaluate(model) -> float, larger is better. Without it only ranks are counted.
        tolerance: The loss of that value that is accepted; default one point of accuracy.
        against: What directions are chosen by, as in `svcca.directions`, but for another model as a whole.
        method: "cca" or "pls".
        observe: What is a row, as in `svcca.directions`, or rules by layer name or pattern.
        retained_variance: Share that `kept_rank` holds, and that CCA may use.
        form: "data" or "orthonormal", as in `svcca.project`.
        forward: Your own way to run the model on `data`.
        seed: The seed of random directions.
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        A table, a row a layer.

    Raises:
        LayerError: For layers that are not there.
        InputError: If `evaluate` gives no finite number, for a negative tolerance, and what `svcca.directions` refuses.
        UnknownOptionError: For an option that does not exist.

    Cost:
        One pass over the data and a few decompositions a layer; 1 + log2(width + 1) evaluations a layer.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 2.1.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> intrinsic_dimensions(net, torch.randn(200, 6)).to_frame()[["width", "rank"]].to_numpy().tolist()
    [[8, 6], [8, 8], [3, 3]]
    """
    check_tolerance(tolerance, "intrinsic_dimensions")
    if isinstance(against, nn.Module):
        remedy = "Call svcca.directions for each layer"
        raise InputError(message("intrinsic_dimensions, against", "one target for all layers", "a model", "", remedy))
    step = SVDStep(retained_variance)
    source = ModelSource(model, layers, forward, type(model).__name__)
    target, kind = target_of(against, method, source, None, None, forward)
    measured, left_out = measure_layers(source, data, target, observe, progress)
    notes: tuple[str, ...] = ()
    if left_out:
        notes = (f"Left out, since they run several times or do not put samples first: {', '.join(left_out)}.",)
        warnings.warn(notes[0], SvccaWarning, stacklevel=2)
    rows, unprojected = [], None
    with trial(model):
        if evaluate is not None:
            unprojected = value_of(evaluate, model, "intrinsic_dimensions")
        for layer in track(measured, "Layers", progress):
            row = _ranks(layer, step)
            if evaluate is not None and unprojected is not None and row.rank:
                found = directions_of(layer, against, method, kind, step, seed)
                k, value = _smallest(model, found, evaluate, unprojected - tolerance, form)
                row = LayerDimensions(row.layer, row.observation, row.width, row.rank, row.kept_rank, k, value)
            rows.append(row)
    return IntrinsicDimensions(
        tuple(rows), retained_variance, kind, tolerance, unprojected, type(model).__name__, notes
    )


def _ranks(layer: LayerMoments, step: SVDStep) -> LayerDimensions:
    width = layer.moments.n_features
    try:
        subspace = Subspace.from_moments(layer.moments, layer.layer)
    except RankError:  # constant: it uses no dimension, which is an answer here
        return LayerDimensions(layer.layer, layer.observation, width, 0, 0, 0)
    return LayerDimensions(layer.layer, layer.observation, width, subspace.rank, subspace.truncate(step).rank)


def _smallest(
    model: nn.Module, found: LayerDirections, evaluate: Evaluate, least: float, form: Form
) -> tuple[int, float]:
    """Bisect for the smallest k whose value is at least that; all directions are known to keep it."""
    short, enough, value = -1, found.n_features, float("nan")
    while enough - short > 1 or value != value:
        k = (short + enough) // 2 if enough - short > 1 else enough
        with project(model, found.layer, found, k, form):
            given = value_of(evaluate, model, f"intrinsic_dimensions, {found.layer!r}, k = {k}")
        if given >= least or k == found.n_features:
            enough, value = k, given
        else:
            short = k
    return enough, value
