"""Whether the leading directions of a layer sit in few of its units: `distributedness`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from svcca.capture.evaluations import Evaluate, counts, trial, value_of
from svcca.core.directions import Form
from svcca.progress import track
from svcca.project.directions import LayerDirections
from svcca.project.project import Restriction, restricted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Distributedness:
    """The value of a model with one layer projected on k directions, and then only m of its units kept.

    Attributes:
        layer: Name of the layer.
        kind: Kind of directions.
        n_features: Width of the layer.
        ks: Numbers of directions, rising, (n_ks,).
        n_units: Numbers of units kept, rising, (n_ms,).
        values: What `evaluate` gave, (n_ms, n_ks).
        all_units: What it gave with every unit kept, (n_ks,).
        unprojected: What it gave for the model as it is.
        title: The model.
    """

    layer: str
    kind: str
    n_features: int
    ks: npt.NDArray[np.int64]
    n_units: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    all_units: npt.NDArray[np.float64]
    unprojected: float
    title: str = ""

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each k and a column for each number of units, all of them last."""
        import pandas as pd

        columns = pd.Index([*self.n_units.tolist(), self.n_features], name="units kept")
        values = np.concatenate([self.values, self.all_units[None]])
        return pd.DataFrame(values.T, index=pd.Index(self.ks, name="k"), columns=columns)

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw a line a number of units over k; return the figure and its axes.

        Args:
            ax: Where to draw; by default a new figure.
        """
        from svcca.plots.direction_curves import plot_unit_curves

        return plot_unit_curves(
            self.ks,
            self.values,
            self.all_units,
            n_units=self.n_units,
            unprojected=self.unprojected,
            n_features=self.n_features,
            title=f"{self.title} {self.layer!r}, {self.kind}",
            ax=ax,
        )


def distributedness(
    model: nn.Module,
    layer: str,
    directions: LayerDirections,
    ks: Iterable[int] | None,
    n_units: Iterable[int],
    evaluate: Evaluate,
    *,
    form: Form = "data",
    progress: bool | None = None,
) -> Distributedness:
    """Project a layer on k directions, keep only the m units that matter most to those, and evaluate.

    Where few units carry the directions, little is lost; the paper finds that much is. A unit matters by
    sum_i rho_i |w_ij| s_j over the k directions (`LayerDirections.importance`); the others are set to their mean.

    Args:
        model: The model; it is evaluated in evaluation mode and handed back as it was.
        layer: Name of the layer.
        directions: Directions of it.
        ks: How many directions; None takes about three an octave up to the width.
        n_units: How many units.
        evaluate: Gives a number for a model, larger is better: evaluate(model) -> float.
        form: "data" or "orthonormal", as in `svcca.project`.
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        Values against k, a line a number of units.

    Raises:
        InputError: If `evaluate` gives no finite number, or for numbers outside of the layer's width.
        LayerError: For a layer that is not there.
        UnknownOptionError: For another form.

    Cost:
        1 + ks * (n_units + 1) evaluations.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), figure 2b.

    >>> import svcca
    >>> net, x = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)), torch.randn(200, 6)
    >>> labels = net(x).argmax(1)
    >>> found = svcca.directions(net, x, "0", against="logits")
    >>> accuracy = lambda net: (net(x).argmax(1) == labels).float().mean()
    >>> result = distributedness(net, "0", found, [3, 6], [2, 4, 8], accuracy)
    >>> result.values.shape, bool((result.values[2] == result.all_units).all())
    ((3, 2), True)
    """
    chosen = counts(ks, directions.n_features, "distributedness, ks")
    sizes = counts(n_units, directions.n_features, "distributedness, n_units")
    values = np.empty((len(sizes) + 1, len(chosen)))
    cells = [(row, column) for column in range(len(chosen)) for row in range(len(sizes) + 1)]
    with trial(model):
        unprojected = value_of(evaluate, model, "distributedness")
        for row, column in track(cells, "Evaluations", progress):
            k = chosen[column]
            units = None
            if row < len(sizes):
                order = np.argsort(-directions.importance(k), kind="stable")
                units = torch.zeros(directions.n_features, dtype=torch.bool)
                units[order[: sizes[row]]] = True
            with restricted(model, {layer: Restriction(layer, directions, k, form, units)}):
                values[row, column] = value_of(evaluate, model, f"distributedness, k = {k}")
    return Distributedness(
        layer,
        directions.kind,
        directions.n_features,
        np.array(chosen, dtype=np.int64),
        np.array(sizes, dtype=np.int64),
        values[:-1],
        values[-1],
        unprojected,
        type(model).__name__,
    )
