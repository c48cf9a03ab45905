"""App. Figure 4: two seeds of the conv net, layer against layer.

Each net is compared with the net of the next seed, in all pairs of layers; a feature is a channel averaged over space.
The same nets before training are the control: their layers are alike in that they see the same images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study


@dataclass(frozen=True, kw_only=True)
class TwoSeeds(Settings):
    """The nets, and the number of test images they are compared on."""

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
    nets = [settings.nets.train_conv(study, images, seed) for seed in range(settings.seeds + 1)]
    inputs = images.test[: settings.n_compared]

    def compared(seed: int, step: int | None) -> dict[str, Any]:
        first, second = (net.net(step) for net in nets[seed : seed + 2])
        matrix = svcca.compare(first, second, inputs, layers=LAYERS, progress=False)
        return {"layers": [row.name for row in matrix.rows], "values": matrix.values.tolist()}

    config = study.config(data=images.config)
    found, before = (
        [study.analysis("pair", config | {"seed": s, "step": step}, partial(compared, s, step)) for s in study.seeds]
        for step in (None, 0)
    )
    values, untrained = (np.array([pair["values"] for pair in part]) for part in (found, before))
    layers = found[0]["layers"]
    return Outcome({"": draw(layers, values, untrained)}, judged(layers, values, untrained))


def judged(layers: list[str], values: np.ndarray[Any, Any], untrained: np.ndarray[Any, Any]) -> list[Finding]:
    """Judge matrices (n_pairs, n_layers, n_layers) after training and before."""
    twins, twins_before = (part.diagonal(axis1=1, axis2=2) for part in (values, untrained))
    middle, n_conv = twins[:, 1:-1].mean(axis=1), layers.index("fc1")
    gained = twins - twins_before
    to_middle = "similarity of the {} layer to its twin, less the mean over the layers between first and last"
    after = "similarity to the twin after training, less that before, mean over the layers {}"
    claims = {
        "The first layers of two nets are more alike than those in the middle.": (
            to_middle.format("first"),
            twins[:, 0] - middle,
        ),
        "The last layers of two nets are more alike than those in the middle.": (
            to_middle.format("last"),
            twins[:, -1] - middle,
        ),
        "Control: convolutional layers of two nets are more alike after training than before.": (
            after.format("up to pool2"),
            gained[:, :n_conv].mean(axis=1),
        ),
        "Control: fully connected layers of two nets are more alike after training than before.": (
            after.format("from fc1"),
            gained[:, n_conv:].mean(axis=1),
        ),
    }
    return [judge(claim, statistic, found, above=0.0, limits=(-1, 1)) for claim, (statistic, found) in claims.items()]


def draw(layers: list[str], values: np.ndarray[Any, Any], untrained: np.ndarray[Any, Any]) -> Figure:
    """Draw the mean matrix, and the similarity of twins before and after training."""
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2)
    picture = left.imshow(values.mean(axis=0), vmin=0, vmax=1, cmap="magma")
    ticks = range(len(layers))
    left.set_xticks(ticks, layers, rotation=90, fontsize=8)
    left.set_yticks(ticks, layers, fontsize=8)
    left.set(xlabel="layer, one seed", ylabel="layer, another seed")
    figure.colorbar(picture, ax=left, label="SVCCA similarity")
    band(right, ticks, values.diagonal(axis1=1, axis2=2), color="C0", marker="o", label="trained")
    band(right, ticks, untrained.diagonal(axis1=1, axis2=2), color="0.5", linestyle=":", label="before training")
    right.set_xticks(ticks, layers, rotation=90, fontsize=8)
    right.set(ylabel="SVCCA similarity of a layer to its twin", ylim=(0, 1))
    right.legend(frameon=False, loc="lower left")
    tidy(right)
    return figure
