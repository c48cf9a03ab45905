"""Figures 2a and 2b: accuracy of a conv net with a layer projected on few directions, and then few of its units.

Each net is taken with the net of the next seed. The paper does not say whether fc1 is meant before its ReLU or after
it: bn3 is what fc2 sees of it. It does not define either which units matter most to some directions; here it is
sum_i rho_i |w_ij| s_j.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduce.claims import Finding, judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.heads import FIRST, LARGEST, LOGITS, PRINCIPAL, TWO_SEEDS, Heads, HeadSettings, pairs, projected, tenth
from reproduce.shared_nets import SHARED
from reproduce.study import Outcome, Study
from svcca.project import distributedness

Result = dict[str, Any]
LAYERS = {FIRST: "pool2", "fc1": "fc1", "bn3": "bn3", "fc2": "fc2"}
"""The module that is projected, and its name in the paper."""
RESTRICTED = {FIRST: (0.04, 0.07), "fc1": (0.1, 0.2)}
"""Shares of the units that figure 2b keeps: 150 and 300 of the 4,096 of pool2, 50 and 100 of the 512 of fc1."""
UNITS_FOR_ONE = 5
"""Units that are kept for one direction where that is judged: as 100 for 20."""

GREYS = {
    PRINCIPAL: ("0.3", "-"),
    "random directions": ("0.6", "-"),
    LARGEST: ("0.3", ":"),
    "random neurons": ("0.6", ":"),
}
"""How baselines are drawn."""


@dataclass(frozen=True, kw_only=True)
class ProjectionSettings(HeadSettings):
    """Number of k per doubling: for the curves, and where units are left out too."""

    per_octave: int
    per_octave_units: int


SETTINGS = {
    "quick": ProjectionSettings(
        seeds=2, nets=SHARED["quick"], n_seen=1200, n_evaluated=597, per_octave=2, per_octave_units=1
    ),
    "cpu": ProjectionSettings(nets=SHARED["cpu"], n_seen=10_000, n_evaluated=5000, per_octave=4, per_octave_units=2),
    "full": ProjectionSettings(
        seeds=5, nets=SHARED["full"], n_seen=50_000, n_evaluated=10_000, per_octave=6, per_octave_units=4
    ),
}
ITEMS = (2, 3)


def run(study: Study) -> Outcome:
    """Project each layer of each net, and leave units out where the paper does."""
    settings: ProjectionSettings = study.settings
    curves: dict[str, list[Result]] = {layer: [] for layer in LAYERS}
    fewer: dict[str, list[Result]] = {layer: [] for layer in RESTRICTED}
    for config, heads in pairs(study):
        for layer, found in curves.items():
            found.append(projected(study, config, heads, layer, settings.per_octave))
        for layer, units in fewer.items():
            one = config | {"layer": layer, "per_octave": settings.per_octave_units, "shares": RESTRICTED[layer]}
            make = partial(few_units, heads, layer, settings.per_octave_units)
            units.append(study.analysis("units", one, make))
    return Outcome({"": draw(curves), "units": draw_units(fewer)}, [*judged(curves), distributed(fewer["fc1"])])


def few_units(heads: Callable[[], Heads], layer: str, per_octave: int) -> Result:
    """Project on k directions shared by two nets, then keep only the m units that matter most to these."""
    both = heads()
    directions = both.directions(layer, TWO_SEEDS)
    width = directions.n_features
    ks = np.unique(np.rint(2 ** np.arange(0, np.log2(width), 1 / per_octave)).astype(int))
    k = tenth(width)
    sizes = sorted({max(1, round(share * width)) for share in RESTRICTED[layer]} | {UNITS_FOR_ONE * k})
    evaluate = both.accuracy_from(layer)
    found = distributedness(both.net, layer, directions, {*ks.tolist(), k}, sizes, evaluate, progress=False)
    values = dict(zip(map(str, sizes), found.values.tolist(), strict=True))
    return {"width": width, "ks": found.ks.tolist(), "all": found.all_units.tolist(), "units": values}


def points_lost(result: Result, kind: str) -> float:
    """Return the points of accuracy lost with a tenth of the directions."""
    at = result["ks"].index(tenth(result["width"]))
    return float(100 * (result["unprojected"] - result["curves"][kind][at]))


def times_more_neurons(result: Result, kind: str) -> float:
    """Return how many times more neurons of largest activation than directions keep accuracy within a point."""
    return float(result["needed"][LARGEST] / result["needed"][kind])


def not_carried(result: Result) -> float:
    """Return the points of accuracy that a tenth of the directions keep, but five units for each of them do not."""
    k = tenth(result["width"])
    at = result["ks"].index(k)
    return float(100 * (result["all"][at] - result["units"][str(UNITS_FOR_ONE * k)][at]))


def judged(curves: dict[str, list[Result]]) -> list[Finding]:
    """Judge the claims of figure 2a, for directions as the paper has them and for those from the logits."""
    findings = [
        judge(
            f"A tenth of the directions keeps nearly full accuracy: {kind}, {layer}.",
            "points of accuracy lost with a tenth of the layer's directions (one may be)",
            [points_lost(result, kind) for result in curves[layer]],
            below=1.0,
            limits=(-100, 100),
        )
        for kind in (TWO_SEEDS, LOGITS)
        for layer in ("fc1", "bn3")
    ]
    return findings + [
        judge(
            f"Far more neurons are needed than directions: {kind}, fc1.",
            "neurons of largest activation over directions, needed to stay within a point of accuracy",
            [times_more_neurons(result, kind) for result in curves["fc1"]],
            above=3.0,
            limits=(0, np.inf),
        )
        for kind in (TWO_SEEDS, LOGITS)
    ]


def distributed(results: list[Result]) -> Finding:
    """Judge the claim of figure 2b."""
    return judge(
        "Directions are distributed: even five units for each of them do not carry what they carry (fc1).",
        "points of accuracy with a tenth of the directions, less those with only the units that matter most to them",
        [not_carried(result) for result in results],
        above=1.0,
        limits=(-100, 100),
    )


def draw(curves: dict[str, list[Result]]) -> Figure:
    """Draw figure 2a, one pane per layer: the mean over nets, and one standard deviation where there is a target."""
    figure = new_figure(9, 4.9)
    axes = figure.subplots(2, 2, sharey=True)
    for ax, layer in zip(axes.ravel(), LAYERS, strict=True):
        results = curves[layer]
        for number, kind in enumerate(results[0]["curves"]):
            lines = [result["curves"][kind] for result in results]
            if kind in GREYS:  # means alone: the picture is full enough
                lines = [np.mean(lines, axis=0).tolist()]
            _line(ax, results, lines, label=kind, **style_of(kind, number))
        ax.axhline(np.mean([result["unprojected"] for result in results]), color="black", linewidth=0.6, zorder=0)
        ax.axvline(tenth(results[0]["width"]), color="black", linewidth=0.6, linestyle=":", zorder=0)
        ax.set_title(f"{LAYERS[layer]}, {results[0]['width']} units", loc="left", fontsize=10)
    for ax in axes[:, 0]:
        ax.set_ylabel("test accuracy")
    for ax in axes[1]:
        ax.set_xlabel("directions or neurons kept (dotted line: a tenth)")
    handles = axes[0, 0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def draw_units(fewer: dict[str, list[Result]]) -> Figure:
    """Draw figure 2b, with one pane per layer and one line per number of units."""
    figure = new_figure(9, 3.6)
    axes = figure.subplots(1, len(fewer), sharey=True)
    for ax, (layer, results) in zip(axes, fewer.items(), strict=True):
        _line(ax, results, [result["all"] for result in results], label="all units", color="C0")
        for number, m in reversed(list(enumerate(results[0]["units"], 3))):
            _line(ax, results, [result["units"][m] for result in results], label=f"{m} units", color=f"C{number}")
        ax.set_title(f"{LAYERS[layer]}, {results[0]['width']} units: {TWO_SEEDS}", loc="left", fontsize=10)
        ax.set_xlabel("directions kept, and then only the units that matter most")
        ax.legend(fontsize=8, frameon=False, loc="upper left")
    axes[0].set_ylabel("test accuracy")
    return figure


def style_of(kind: str, number: int) -> dict[str, Any]:
    """Return colours for directions with a target, and greys for the baselines."""
    colour, dashes = GREYS.get(kind, (f"C{number}", "-"))
    return {"color": colour, "linestyle": dashes}


def _line(ax: Axes, results: list[Result], lines: list[list[float]], **style: Any) -> None:
    band(ax, results[0]["ks"], lines, linewidth=1.2, **style)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    tidy(ax)
