"""What a model is worth with a layer restricted to k directions, against k: `projection_curve`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import nn

from svcca.capture.evaluations import Evaluate, counts, trial, value_of
from svcca.core.directions import Form
from svcca.errors import InputError, message
from svcca.progress import track
from svcca.project.directions import BASELINES, LayerDirections
from svcca.project.project import project

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class ProjectionCurve:
    """The value of a model with one layer projected on k directions of several kinds.

    Attributes:
        layer: Name of the layer.
        n_features: Its width.
        kinds: Kinds of directions.
        ks: Numbers of directions, rising, (n_ks,).
        values: What `evaluate` gave, (n_kinds, n_ks).
        unprojected: What it gave for the model as it is.
        n_from_target: For each kind, how many of its directions a target gave; 0 where there was none.
        title: The model.
    """

    layer: str
    n_features: int
    kinds: tuple[str, ...]
    ks: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    unprojected: float
    n_from_target: tuple[int, ...]
    title: str = ""

    def neurons_needed(self, tolerance: float = 0.01) -> dict[str, int | None]:
        """Return, for each kind, the smallest measured k from which the value stays within a tolerance.

        That is at least unprojected - tolerance there and at every larger k measured; None where there is none such.

        Args:
            tolerance: What may be lost, in the units of `evaluate`; default one point of accuracy.

        Raises:
            InputError: If it is negative.
        """
        check_tolerance(tolerance, "ProjectionCurve.neurons_needed")
        needed: dict[str, int | None] = {}
        for kind, values in zip(self.kinds, self.values, strict=True):
            short = np.flatnonzero(values < self.unprojected - tolerance)
            first = int(short[-1]) + 1 if len(short) else 0
            needed[kind] = int(self.ks[first]) if first < len(self.ks) else None
        return needed

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each k and a column for each kind."""
        import pandas as pd

        index = pd.Index(self.ks, name="k")
        return pd.DataFrame(self.values.T, index=index, columns=pd.Index(self.kinds, name="kind"))

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw a line a kind over k; return the figure and its axes.

        Args:
            ax: Where to draw; by default a new figure.
        """
        from svcca.plots.direction_curves import plot_direction_curves

        return plot_direction_curves(
            self.ks,
            self.values,
            kinds=self.kinds,
            unprojected=self.unprojected,
            n_features=self.n_features,
            title=f"{self.title} {self.layer!r}",
            ax=ax,
        )


def projection_curve(
    model: nn.Module,
    layer: str,
    directions: LayerDirections | Mapping[str, LayerDirections],
    ks: Iterable[int] | None,
    evaluate: Evaluate,
    *,
    baselines: Sequence[str] = tuple(BASELINES),
    form: Form = "data",
    seed: int = 0,
    progress: bool | None = None,
) -> ProjectionCurve:
    """Evaluate a model with a layer projected on its first k directions, for several k and kinds; nothing is retrained.

    Args:
        model: The model; it is evaluated in evaluation mode and handed back as it was.
        layer: Name of the layer.
        directions: Directions of it, or several kinds by name. They should come from other data than `evaluate` uses.
        ks: How many to keep; None takes about three an octave up to the width.
        evaluate: Gives a number for a model, larger is better: evaluate(model) -> float.
        baselines: What to draw beside them, from the same moments: "pca", "random_directions", "random_neurons",
            "largest_activation". All by default.
        form: "data" or "orthonormal", as in `svcca.project`.
        seed: Of the random baselines, one draw each.
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        Values against k, a line a kind.

    Raises:
        InputError: If `evaluate` gives no finite number, or for what `svcca.project` refuses.
        LayerError: For a layer that is not there.
        UnknownOptionError: For a baseline or form that does not exist.

    Cost:
        1 + kinds * ks evaluations.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), figure 2a.

    >>> import svcca, torch
    >>> net, x = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)), torch.randn(200, 6)
    >>> labels = net(x).argmax(1)
    >>> found = svcca.directions(net, x, "0", against="logits")
    >>> curve = projection_curve(net, "0", found, [2, 8], lambda net: (net(x).argmax(1) == labels).float().mean())
    >>> len(curve.kinds), curve.unprojected, curve.values[:, 1].min() > 0.98
    (5, 1.0, np.True_)
    """
    named = {directions.kind: directions} if isinstance(directions, LayerDirections) else dict(directions)
    if not named:
        raise InputError(message("projection_curve", "directions of at least one kind", "none"))
    first = next(iter(named.values()))
    for name in baselines:
        other = first.baseline(name, seed)
        named.setdefault(other.kind, other)
    chosen = counts(ks, first.n_features, "projection_curve, ks")
    work = [(kind, k) for kind in named for k in chosen]
    values = []
    with trial(model):
        unprojected = value_of(evaluate, model, "projection_curve")
        for kind, k in track(work, "Evaluations", progress):
            with project(model, layer, named[kind], k, form):
                values.append(value_of(evaluate, model, f"projection_curve, {kind}, k = {k}"))
    return ProjectionCurve(
        layer,
        first.n_features,
        tuple(named),
        np.array(chosen, dtype=np.int64),
        np.array(values).reshape(len(named), len(chosen)),
        unprojected,
        tuple(each.n_from_target for each in named.values()),
        type(model).__name__,
    )


def check_tolerance(tolerance: float, where: str) -> None:
    """Raise InputError unless a tolerance is a number of 0 or more."""
    if not tolerance >= 0:
        raise InputError(message(where, "a tolerance of at least 0", repr(tolerance)))
