"""v1 Figure 6 right, v2 Figure 7: a conv net against a residual net, hidden layer against hidden layer.

Pairs of one seed, once with channels averaged over positions and once with whole maps by spatial frequency; beside
them the same nets untrained. v1 finds that layers at the same proportion of depth are alike; v2 finds that the lower
layers are alike, and less so with depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.layers import CONV_HIDDEN, conv_depths, residual_depths, residual_hidden
from reproduce.order import rank_correlation
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Architectures(Settings):
    """The nets, and the number of test images they are compared on: by averages, and by whole maps."""

    n_pooled: int
    n_fourier: int
    nets: SharedNets


SETTINGS = {
    "quick": Architectures(seeds=2, n_pooled=597, n_fourier=200, nets=SHARED["quick"]),
    "cpu": Architectures(n_pooled=5000, n_fourier=2000, nets=SHARED["cpu"]),
    "full": Architectures(seeds=5, n_pooled=10_000, n_fourier=5000, nets=SHARED["full"]),
}
ITEMS = (12,)
SORTS = {"pool": "averaged over positions", "fourier": "whole maps, by frequency"}


def run(study: Study) -> Outcome:
    """Compare the conv net of each seed with the residual net of that seed, trained and untrained."""
    settings: Architectures = study.settings
    images = settings.nets.images(study)
    sizes = {"pool": settings.n_pooled, "fourier": settings.n_fourier}
    residual = residual_hidden(settings.nets.residual.blocks)
    shared = settings.nets
    pairs = [(shared.train_conv(study, images, s), shared.train_residual(study, images, s)) for s in study.seeds]

    def compared(sort: str, seed: int, *, trained: bool) -> dict[str, Any]:
        nets = [net.net(None if trained else 0) for net in pairs[seed]]
        # By name, since both nets have modules of the same names that are not the same layers.
        wanted = [list(CONV_HIDDEN), list(residual)]
        inputs = images.test[: sizes[sort]]
        layers = list(dict.fromkeys([*wanted[0], *wanted[1]]))
        matrix = svcca.compare(*nets, inputs, layers=layers, observe=sort, progress=False)
        sides = matrix.row_labels, matrix.column_labels
        places = np.ix_(*([side.index(name) for name in names] for side, names in zip(sides, wanted, strict=True)))
        return {"values": matrix.values[places].tolist(), "chance": matrix.chance[places].tolist()}

    config = study.config(data=images.config)
    found = {
        (sort, trained): [
            study.analysis(
                sort,
                config | {"seed": s, "trained": trained},
                lambda sort=sort, s=s, trained=trained: compared(sort, s, trained=trained),
            )
            for s in study.seeds
        ]
        for sort in SORTS
        for trained in (True, False)
    }
    values = {key: np.array([one["values"] for one in ones]) for key, ones in found.items()}
    chance = {sort: np.array([one["chance"] for one in found[sort, True]]).mean(axis=0) for sort in SORTS}
    depths = conv_depths(), residual_depths(settings.nets.residual.blocks)
    findings = [f for sort in SORTS for f in judged(values[sort, True], values[sort, False], *depths, sort)]
    return Outcome({"": draw(values, chance, depths, list(residual.values()))}, findings)


def judged(trained: Array, untrained: Array, rows: Array, columns: Array, sort: str) -> list[Finding]:
    """Judge what either version of the paper found, from similarities (n_seeds, n_rows, n_columns) and depths."""
    level = [along_depth(one, rows, columns) for one in trained]
    before = [along_depth(one, rows, columns) for one in untrained]
    best = [columns[one.argmax(axis=1)] for one in trained]
    return [
        judge(
            f"v1: layers are most similar to those at the same proportion of depth: {SORTS[sort]}.",
            "slope of the depth of the most similar layer in the residual net over a conv layer's own depth, both as "
            "shares of all layers: 1 is the same proportion, 0 no relation",
            [slope(rows, one) for one in best],
            above=0.5,
        ),
        judge(
            f"v1, the order alone: the deeper a layer, the deeper the one most similar to it: {SORTS[sort]}.",
            "rank correlation of a conv layer's depth with that of its most similar layer in the residual net",
            [rank_correlation(rows, one) for one in best],
            above=0.5,
            limits=(-1, 1),
        ),
        judge(
            f"v2: the lower layers are similar, and similarity falls with depth: {SORTS[sort]}.",
            "rank correlation of a conv layer's depth with its similarity to the layer of the nearest proportion",
            [rank_correlation(rows, one) for one in level],
            below=-0.5,
            limits=(-1, 1),
        ),
        judge(
            f"Control: it is training that makes the two architectures alike: {SORTS[sort]}.",
            "similarity of layers of the nearest proportion of depth, mean: trained nets less untrained ones",
            np.mean(level, axis=1) - np.mean(before, axis=1),
            above=0.0,
            limits=(-1, 1),
        ),
    ]


def slope(x: Array, y: Array) -> float:
    """Return the least-squares slope of a line through points."""
    return float(np.polyfit(x, y, 1)[0])


def along_depth(values: Array, rows: Array, columns: Array) -> Array:
    """Return the similarity of each row to the column whose depth is nearest to its own."""
    nearest = np.abs(rows[:, None] - columns[None, :]).argmin(axis=1)
    return values[np.arange(len(rows)), nearest]


def draw(
    values: dict[tuple[str, bool], Array], chance: dict[str, Array], depths: tuple[Array, Array], blocks: list[str]
) -> Figure:
    """Draw, in one row per kind of features, the mean matrices trained and untrained, and similarity along depth."""
    figure = new_figure(9, 6.4)
    for sort, (left, middle, right) in zip(SORTS, figure.subplots(2, 3), strict=True):
        for ax, trained in ((left, True), (middle, False)):
            picture = ax.imshow(values[sort, trained].mean(axis=0), vmin=0, vmax=1, cmap="magma", aspect="auto")
            ax.set_xticks(range(len(blocks)), blocks, rotation=90, fontsize=8 if len(blocks) < 12 else 6)
            ax.set_yticks(range(len(CONV_HIDDEN)), CONV_HIDDEN.values(), fontsize=8)
            ax.set_title(f"{SORTS[sort]}, {'trained' if trained else 'untrained'}", fontsize=9)
        left.set(ylabel="conv net")
        middle.set(xlabel="residual net")
        figure.colorbar(picture, ax=middle, label="SVCCA similarity")
        for trained, colour in ((True, "C0"), (False, "C1")):
            curves = [along_depth(one, *depths) for one in values[sort, trained]]
            label = f"{'trained' if trained else 'untrained'} (band: sd over seeds)"
            band(right, depths[0], curves, color=colour, marker="o", markersize=3, label=label)
        right.plot(depths[0], along_depth(chance[sort], *depths), color="0.4", linestyle=":", label="chance")
        right.set(xlabel="depth, share of all layers", ylabel="similarity at the same depth", ylim=(0, 1), xlim=(0, 1))
        tidy(right)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=3, frameon=False, fontsize=8)
    return figure
