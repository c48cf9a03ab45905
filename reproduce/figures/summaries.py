"""Tutorial: five summaries of the same correlations, for layers that agree and layers that do not.

One layer of the conv net against itself, its twin in a net of another seed, the twin before training, the twin with its
rows in another order, and Gaussian noise of equal size, over more and more images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import svcca
from reproduce.claims import judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Summaries(Settings):
    """The nets, the layer and the numbers of images.

    Attributes:
        nets: The settings of the conv nets.
        layer: The layer that is compared with its twin.
        per_unit: The numbers of images per unit of the layer; the first is the small sample of the claims.
    """

    nets: SharedNets
    layer: str = "fc1"
    per_unit: tuple[int, ...]


SETTINGS = {
    "quick": Summaries(seeds=2, nets=SHARED["quick"], per_unit=(3, 5, 9)),
    "cpu": Summaries(nets=SHARED["cpu"], per_unit=(3, 5, 10, 20, 40, 75)),
    "full": Summaries(seeds=5, nets=SHARED["full"], per_unit=(3, 5, 10, 19)),
}
ITEMS = (24,)
SUMMARIES = {
    "cca": "mean",
    "cca_top": "top 20",
    "cca_thresholded": "thresholded",
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
}
OTHERS = {
    "itself": "itself",
    "twin": "twin, another seed",
    "untrained": "twin before training",
    "shuffled": "twin, rows shuffled",
    "noise": "Gaussian noise",
}


def run(study: Study) -> Outcome:
    """Compare the layer of each net with the five others, by five summaries, at all sample sizes."""
    settings: Summaries = study.settings
    images = settings.nets.images(study)
    nets = [settings.nets.train_conv(study, images, seed) for seed in range(settings.seeds + 1)]

    def compared(seed: int) -> dict[str, Any]:
        one, other = nets[seed : seed + 2]
        x, twin, untrained = (
            svcca.activations(net, images.test, layers=[settings.layer], progress=False)[settings.layer]
            for net in (one.net(), other.net(), other.net(other.steps[0]))
        )
        sizes = [number * x.shape[1] for number in settings.per_unit]
        return {"sizes": sizes, "values": [summarised(x[:n], twin[:n], untrained[:n], seed) for n in sizes]}

    config = study.config(data=images.config)
    found = [study.analysis("pair", config | {"seed": s}, partial(compared, s)) for s in study.seeds]
    # (seeds, sizes, others, summaries)
    values = np.array([[[list(row[name].values()) for name in OTHERS] for row in pair["values"]] for pair in found])
    gaps = separation(values)
    names = list(SUMMARIES)
    small = f"{settings.per_unit[0]} images a unit"
    findings = [
        judge(
            f"At few samples {SUMMARIES[name]} separates trained twins from noise by more than the plain mean.",
            f"value of the twin less value of noise at {small}: {SUMMARIES[name]} less plain mean",
            gaps[:, 0, names.index(name)] - gaps[:, 0, names.index("cca")],
            above=0.0,
            limits=(-2, 2),
        )
        for name in ("svcca", "pwcca")
    ]
    findings += [
        judge(
            "Every summary calls a layer the same as itself.",
            "smallest value of a layer against itself, over summaries and sample sizes",
            values[:, :, 0].min(axis=(1, 2)),
            above=1 - 1e-6,
            limits=(0, 1),
            exact=True,
        ),
        judge(
            "Every summary puts the trained twin above the untrained one, and that above noise.",
            "smallest of these steps over the summaries, with all images",
            smallest_step(values[:, -1]),
            above=0.0,
            limits=(-1, 1),
        ),
    ]
    return Outcome({"": draw(found[0]["sizes"], values, settings)}, findings)


def summarised(x: Tensor, twin: Tensor, untrained: Tensor, seed: int) -> dict[str, dict[str, float]]:
    """Return every summary of a layer (n, p) against each of the five others, as value by summary by other."""
    generator = torch.Generator().manual_seed(seed)
    others = {
        "itself": x,
        "twin": twin,
        "untrained": untrained,
        "shuffled": twin[torch.randperm(len(twin), generator=generator)],
        "noise": torch.randn(twin.shape, generator=generator),
    }
    return {
        name: {key: result.similarity for key, result in svcca.measures.similarities(x, y, list(SUMMARIES)).items()}
        for name, y in others.items()
    }


def separation(values: Array) -> Array:
    """Return the value of the trained twin less that of noise; (..., others, summaries) becomes (..., summaries)."""
    names = list(OTHERS)
    difference: Array = values[..., names.index("twin"), :] - values[..., names.index("noise"), :]
    return difference


def smallest_step(values: Array) -> Array:
    """Return the smallest of twin - untrained and untrained - noise, (n_seeds,), from (n_seeds, others, summaries)."""
    order = [list(OTHERS).index(name) for name in ("twin", "untrained", "noise")]
    steps = -np.diff(values[:, order], axis=1)
    smallest: Array = steps.min(axis=(1, 2))
    return smallest


def draw(sizes: list[int], values: Array, settings: Summaries) -> Figure:
    """Draw the table of values at both ends of the sample sizes, and what separates twins from noise between them."""
    figure = new_figure(9, 4.2)
    panes = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
    for pane, place in zip(panes, (0, -1), strict=False):
        table = values[:, place].mean(axis=0)
        pane.imshow(table, vmin=0, vmax=1, cmap="magma", aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            colour = "black" if value > 0.6 else "white"
            pane.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
        pane.set_xticks(
            range(len(SUMMARIES)), list(SUMMARIES.values()), rotation=60, ha="right", rotation_mode="anchor"
        )
        pane.set_yticks(range(len(OTHERS)), list(OTHERS.values()) if place == 0 else [""] * len(OTHERS))
        pane.tick_params(length=0, labelsize=8)
        pane.set_title(f"{settings.layer}, {sizes[place]:,} images", fontsize=9)
    right = panes[2]
    gaps = separation(values)
    for column, name in enumerate(SUMMARIES):
        style = {"linestyle": "--", "color": "black"} if name == "cca" else {"color": f"C{column - 1}"}
        band(right, sizes, gaps[:, :, column], marker="o", markersize=3, label=SUMMARIES[name], **style)
    right.set_xscale("log")
    right.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8, rotation=60)
    right.minorticks_off()
    right.set(xlabel="images", ylabel="trained twin less noise")
    right.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    right.legend(frameon=False, fontsize=8)
    tidy(right)
    return figure
