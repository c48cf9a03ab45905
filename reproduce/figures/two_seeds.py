"""App. Figure 4: two seeds of the conv net, layer against layer.

Each net is compared with the net of the next seed, in all pairs of layers; a feature is a channel averaged over space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import svcca
from reproduce.claims import judge
from reproduce.drawing import new_figure, tidy
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study


@dataclass(frozen=True, kw_only=True)
class TwoSeeds(Settings):
    """Which nets, and on how many test images they are compared."""

    n_compared: int
    nets: SharedNets


SETTINGS = {
    "quick": TwoSeeds(seeds=2, n_compared=597, nets=SHARED["quick"]),
    "cpu": TwoSeeds(n_compared=5000, nets=SHARED["cpu"]),
    "full": TwoSeeds(seeds=5, n_compared=10_000, nets=SHARED["full"]),
}
ITEMS = (11,)
LAYERS = ["!relu*", "!flat"]


def run(study: Study) -> Outcome:
    """Compare each net with the one of the next seed."""
    settings: TwoSeeds = study.settings
    images = settings.nets.images(study)
    nets = [settings.nets.train_conv(study, images, seed).net() for seed in range(settings.seeds + 1)]
    inputs = images.test[: settings.n_compared]

    def compared(seed: int) -> dict[str, Any]:
        matrix = svcca.compare(nets[seed], nets[seed + 1], inputs, layers=LAYERS, progress=False)
        return {"layers": [row.name for row in matrix.rows], "values": matrix.values.tolist()}

    config = study.config(data=images.config)
    found = [study.analysis("pair", config | {"seed": s}, lambda s=s: compared(s)) for s in study.seeds]
    values = np.array([pair["values"] for pair in found])
    twins = values.diagonal(axis1=1, axis2=2)
    findings = [
        judge(
            "The first layers of two nets are more alike than those in the middle.",
            "similarity of the first layer to its twin, less that of the middle layers (second to last but one), mean",
            twins[:, 0] - twins[:, 1:-1].mean(axis=1),
            above=0.0,
            limits=(-1, 1),
        ),
        judge(
            "The last layers of two nets are more alike than those in the middle.",
            "similarity of the last layer to its twin, less that of the middle layers (second to last but one), mean",
            twins[:, -1] - twins[:, 1:-1].mean(axis=1),
            above=0.0,
            limits=(-1, 1),
        ),
    ]
    return Outcome({"": draw(found[0]["layers"], values)}, findings)


def draw(layers: list[str], values: np.ndarray[Any, Any]) -> Figure:
    """Draw the mean matrix, and the similarity of twins with a line a pair of nets."""
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2)
    picture = left.imshow(values.mean(axis=0), vmin=0, vmax=1, cmap="magma")
    ticks = range(len(layers))
    left.set_xticks(ticks, layers, rotation=90, fontsize=8)
    left.set_yticks(ticks, layers, fontsize=8)
    left.set(xlabel="layer, one seed", ylabel="layer, another seed")
    figure.colorbar(picture, ax=left, label="SVCCA similarity")
    for pair in values:
        right.plot(ticks, pair.diagonal(), color="C0", alpha=0.4, linewidth=1)
    right.plot(ticks, values.mean(axis=0).diagonal(), color="C0", marker="o", label="mean over pairs of seeds")
    right.set_xticks(ticks, layers, rotation=90, fontsize=8)
    right.set(ylabel="SVCCA similarity of a layer to its twin", ylim=(0, 1))
    right.legend(frameon=False)
    tidy(right)
    return figure
