"""Kornblith's test across seeds: is a layer's most similar layer in another net its twin? For every measure.

All pairs of conv nets from several seeds, in three kinds of features: channels averaged over positions; whole maps, by
spatial frequency; and whole maps flattened, with fewer images than values, as in Kornblith et al. (2019), Table 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import svcca
from reproduce.claims import Finding, half_width, judge
from reproduce.drawing import new_figure, tidy
from reproduce.layers import CONV_HIDDEN
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study

Array = np.ndarray[Any, Any]
Shares = dict[str, list[float]]
"""Share of twins found, one number per net, by measure."""


@dataclass(frozen=True, kw_only=True)
class LayerMatching(Settings):
    """The nets, and the number of test images they are compared on; fewer where maps are flattened."""

    seeds: int = 4
    n_pooled: int
    n_fourier: int
    n_flattened: int
    nets: SharedNets


SETTINGS = {
    "quick": LayerMatching(seeds=3, n_pooled=597, n_fourier=200, n_flattened=60, nets=SHARED["quick"]),
    "cpu": LayerMatching(n_pooled=5000, n_fourier=2000, n_flattened=300, nets=SHARED["cpu"]),
    "full": LayerMatching(seeds=10, n_pooled=10_000, n_fourier=5000, n_flattened=2000, nets=SHARED["full"]),
}
ITEMS = (11,)
SORTS = {"pool": "averaged over positions", "fourier": "whole maps, by frequency", "flatten": "flattened, few images"}
MARGIN = 0.05
PUBLISHED = {"cca": 0.014, "r2_cca": 0.106, "svcca": 0.099, "svcca_r2": 0.151, "pwcca": 0.111}
PUBLISHED |= {"linear_regression_r2": 0.454, "linear_cka": 0.993}
"""Kornblith et al. (2019), Table 2: ten nets of ten layers each."""


def run(study: Study) -> Outcome:
    """Compare all pairs of nets in all measures."""
    settings: LayerMatching = study.settings
    images = settings.nets.images(study)
    seeds = range(max(settings.seeds, 2))  # a net has its twins in another one
    nets = [settings.nets.train_conv(study, images, seed).net() for seed in seeds]
    sizes = {"pool": settings.n_pooled, "fourier": settings.n_fourier, "flatten": settings.n_flattened}

    def compared(sort: str, one: int, other: int) -> dict[str, Any]:
        measures = [measure for measure in every_measure() if measure.by_frequency or sort != "fourier"]
        inputs = images.test[: sizes[sort]]
        layers = list(CONV_HIDDEN)
        found = svcca.compare(
            nets[one], nets[other], inputs, layers=layers, measure=measures, observe=sort, progress=False
        )
        return {label: matrix.values.tolist() for label, matrix in found.items()}

    config = study.config(data=images.config)
    shares: dict[str, Shares] = {}
    for sort in SORTS:
        pairs = {
            (one, other): study.analysis(
                sort, config | {"pair": [one, other]}, lambda sort=sort, a=one, b=other: compared(sort, a, b)
            )
            for one, other in combinations(seeds, 2)
        }
        names = next(iter(pairs.values()))
        shares[sort] = {name: twins_found({k: np.array(v[name]) for k, v in pairs.items()}) for name in names}
    findings = [finding for sort in SORTS for finding in judged(shares[sort], sort)]
    return Outcome({"": draw(shares, len(CONV_HIDDEN))}, findings)


def every_measure() -> list[svcca.measures.Measure]:
    """Return all measures of the library, those that can weigh by either layer by each."""
    readings = {
        "svcca_weighted": [svcca.measures.WeightedSVCCA(side=side) for side in ("y", "mean")],
        "pwcca": [
            *(svcca.measures.PWCCA(side=side) for side in ("x", "y", "mean")),
            svcca.measures.PWCCA(squared=True),
        ],
    }
    return [one for name, measure in svcca.MEASURES.items() for one in (measure, *readings.get(name, ()))]


def twins_found(pairs: dict[tuple[int, int], Array]) -> list[float]:
    """Return the share of layers whose most similar layer in another net is their twin, per net, over all the others.

    A matrix (n_layers, n_layers) between two nets counts for both: its rows look for their twins among the columns,
    and its columns among the rows. A layer whose highest value is tied has not found its twin.
    """
    found: dict[int, list[float]] = {}
    for nets, matrix in pairs.items():
        for net, values in zip(nets, (matrix, matrix.T), strict=True):
            found.setdefault(net, []).append(float(is_highest(values).mean()))
    return [float(np.mean(found[net])) for net in sorted(found)]


def is_highest(values: Array) -> Array:
    """Return whether the diagonal of each row exceeds the rest of the row by more than rounding."""
    others = np.where(np.eye(len(values), dtype=bool), -np.inf, values)
    return values.diagonal() > others.max(axis=1) + 1e-9


def more(shares: Shares, one: str, other: str) -> list[float]:
    """Return how many more twins one measure finds than another, as a share of layers, for each net."""
    return [a - b for a, b in zip(shares[one], shares[other], strict=True)]


def between(shares: Shares, low: str, middle: str, high: str) -> list[float]:
    """Return by how much a measure finds more than one and fewer than another: the smaller of the two, for each net."""
    return [min(pair) for pair in zip(more(shares, middle, low), more(shares, high, middle), strict=True)]


def judged(shares: Shares, sort: str) -> list[Finding]:
    """Judge the order of the measures for one kind of features."""
    text = "share of layers that find their twin, mean over the other nets"
    wanted = {
        "Linear CKA finds more twins than SVCCA": ("CKA less SVCCA", more(shares, "linear_cka", "svcca")),
        "Linear CKA finds more twins than CCA": ("CKA less mean CCA", more(shares, "linear_cka", "cca")),
        "Linear regression lies between SVCCA and linear CKA": (
            "the smaller of regression less SVCCA and CKA less regression",
            between(shares, "svcca", "linear_regression_r2", "linear_cka"),
        ),
    }
    return [
        judge(f"{claim}: {SORTS[sort]}.", f"{text}: {what}; a value a net", values, above=MARGIN, limits=(-1, 1))
        for claim, (what, values) in wanted.items()
    ]


def draw(shares: dict[str, Shares], n_layers: int) -> Figure:
    """Draw one bar per measure with its 95% interval over nets, the chance level, and the published values."""
    figure = new_figure(9, 4.6)
    names = list(shares["pool"])
    for ax, (sort, found) in zip(figure.subplots(1, len(shares), sharey=True), shares.items(), strict=True):
        means = [np.mean(found[name]) if name in found else 0.0 for name in names]
        halves = [half_width(found[name]) if name in found else 0.0 for name in names]
        shown = [name in found for name in names]
        ends = np.clip([np.subtract(means, halves), np.add(means, halves)], 0, 1)
        places = np.arange(len(names))
        ax.barh(places, means, color="C0", alpha=0.8, height=0.7)
        ax.hlines(places[shown], ends[0][shown], ends[1][shown], color="black", linewidth=1.2, label="95% over nets")
        ax.axvline(1 / n_layers, color="0.4", linestyle=":", label="chance")
        published = [names.index(name) for name in PUBLISHED]
        ax.plot(list(PUBLISHED.values()), published, "D", color="C1", markersize=4, label="Kornblith et al. 2019")
        for place, mean, there in zip(places, means, shown, strict=True):
            text = "none" if there and mean == 0 else "" if there else "not defined"
            ax.text(0.17, place, text, va="center", fontsize=7, color="0.4")
        ax.set(title=SORTS[sort], xlim=(0, 1.02), xlabel="layers that find their twin")
        ax.title.set_fontsize(10)
        ax.set_yticks(places, names, fontsize=8)
        tidy(ax)
    figure.axes[0].invert_yaxis()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure
