"""Section 4.4: the last layers of a conv net compressed, by directions from the logits, from two seeds, and by others.

The consumers of the last five layers are compressed one after the other, without retraining: fc1 reads pool2,
fc2 reads fc1 and bn3, the output layer reads fc2 and bn4. Ten logits give at most ten canonical directions; the rest
are principal directions of the remainder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.heads import Heads, HeadSettings, pairs
from reproduce.shared_nets import SHARED
from reproduce.study import Outcome, Study
from svcca.compress import compression_curve

Result = dict[str, Any]
LAYERS = ["fc1", "fc2", "out"]
SHARE = 0.35
"""Share of the inputs of each layer that the paper keeps as directions, however many weights that takes."""
WAYS = {
    "logits": "logits",
    "outputs": "the layer's outputs",
    "two seeds": "another net (two seeds)",
    "PLS": "logits, by PLS",
    "PCA": "PCA",
    "weights": "SVD of the weights",
}
"""Where directions come from, and what the figure calls it."""


@dataclass(frozen=True, kw_only=True)
class CompressionSettings(HeadSettings):
    """Weights of the compressed layers after over weights before."""

    ratios: tuple[float, ...] = (0.75, 0.5, 0.35, 0.25, 0.15)


SETTINGS = {
    "quick": CompressionSettings(
        seeds=2, nets=SHARED["quick"], n_seen=1200, n_evaluated=597, ratios=(0.75, 0.5, 0.35, 0.25)
    ),
    "cpu": CompressionSettings(nets=SHARED["cpu"], n_seen=5000, n_evaluated=10_000),
    "full": CompressionSettings(seeds=5, nets=SHARED["full"], n_seen=50_000, n_evaluated=10_000),
}
ITEMS = (14,)


def run(study: Study) -> Outcome:
    """Compress each net by every method to every size."""
    settings: CompressionSettings = study.settings
    results = []
    for config, heads in pairs(study):
        make = partial(compressed, heads, settings.ratios)
        results.append(study.analysis("net", config | {"ratios": settings.ratios, "share": SHARE}, make))
    return Outcome({"": draw(results, settings.ratios)}, judged(results))


def compressed(heads: Callable[[], Heads], ratios: tuple[float, ...]) -> Result:
    """Return, for each method, the points of accuracy lost and the share of the whole net's parameters that is left.

    Returns:
        "accuracy" of the whole net, "lost" and "left" by method (n_ratios,), "lost_by_share" by method (where 0.35 of
        the inputs of each layer are kept as directions), and "left_by_share", the same for all methods.
    """
    both = heads()
    against = {way: way.lower() for way in WAYS} | {"two seeds": both.other}
    options: dict[str, Any] = {"layers": LAYERS, "forward": both.forward, "progress": False}
    curve = compression_curve(both.net, both.seen, both.accuracy, ratios=ratios, against=against, **options)
    whole = both.n_below + curve.parameters
    lost: dict[str, list[float]] = {way: [] for way in WAYS}
    left: dict[str, list[float]] = {way: [] for way in WAYS}
    for point in curve.points:
        lost[point.method].append(100 * (curve.accuracy - point.accuracy))
        left[point.method].append((both.n_below + point.parameters) / whole)
    by_share = {}
    for way in WAYS:
        smaller = svcca.compress(both.net, both.seen, against=against[way], ranks=SHARE, **options)
        by_share[way] = 100 * (curve.accuracy - both.accuracy(smaller))
    n_left = both.n_below + sum(parameter.numel() for parameter in smaller.parameters())
    found = {"accuracy": curve.accuracy, "lost": lost, "left": left, "lost_by_share": by_share}
    return found | {"left_by_share": n_left / whole}


def better_by(result: Result, way: str, than: str) -> float:
    """Return the points of accuracy that one method loses less than another, mean over sizes of equal parameters."""
    return float(np.mean(np.subtract(result["lost"][than], result["lost"][way])))


def judged(results: list[Result]) -> list[Finding]:
    """Judge the paper's claims, and compare its directions and the library's default with the SVD of the weights."""
    findings = [
        judge(
            "Directions from the logits lose less than those from two seeds.",
            "points of accuracy lost by two seeds less those by the logits, mean over ratios",
            [better_by(result, "logits", "two seeds") for result in results],
            above=0.0,
            limits=(-100, 100),
        ),
        judge(
            "The last five layers each to 0.35 of their directions, with hardly any loss (directions from the logits).",
            "points of accuracy lost (one may be)",
            [result["lost_by_share"]["logits"] for result in results],
            below=1.0,
            limits=(-100, 100),
        ),
    ]
    return findings + [
        judge(
            f"With as many parameters, at least as accurate as the SVD of the weights: directions from {WAYS[way]}.",
            "points of accuracy lost by the SVD of the weights less those by these directions, mean over ratios",
            [better_by(result, way, "weights") for result in results],
            above=0.0,
            limits=(-100, 100),
        )
        for way in ("logits", "outputs")
    ]


def draw(results: list[Result], ratios: tuple[float, ...]) -> Figure:
    """Draw points lost against parameters; and with 0.35 of the directions of each layer, net by net."""
    figure = new_figure(9, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    for place, (way, label) in enumerate(WAYS.items()):
        style = {"color": f"C{place}", "marker": "o", "markersize": 3}
        size = np.mean([result["left"][way] for result in results], axis=0)
        band(left, size, [result["lost"][way] for result in results], label=label, **style)
        points = [result["lost_by_share"][way] for result in results]
        right.plot(points, [place] * len(points), "o", color=f"C{place}", markersize=4, alpha=0.6)
        right.plot(np.mean(points), place, "|", color=f"C{place}", markersize=14)
    for ax in (left, right):
        tidy(ax)
    left.axhline(0, color="black", linewidth=0.6, zorder=0)
    left.invert_yaxis()
    left.set(xlabel="parameters, share of the whole net's", ylabel="points of accuracy lost")
    left.legend(title="directions from", frameon=False, fontsize=8, title_fontsize=8, loc="lower right")
    right.axvline(0, color="black", linewidth=0.6, zorder=0)
    right.axvline(1, color="black", linewidth=0.6, linestyle=":", zorder=0)
    right.set_yticks(range(len(WAYS)), list(WAYS.values()), fontsize=8)
    right.set(xlabel="points of accuracy lost", ylim=(len(WAYS) - 0.5, -0.5))
    right.set_title(f"{SHARE} of each layer's directions", loc="left", fontsize=10)
    left.set_title("at equal parameters", loc="left", fontsize=10)
    return figure
