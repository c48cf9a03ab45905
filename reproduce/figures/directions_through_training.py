"""Morcos et al., Figure 1: directions that have settled at half-time stay, those that have not keep moving.

Canonical directions of a layer between an early step and half-time are split: the fifth that was most alike had
settled, the fifth that was least alike had not. Both are directions of the layer at half-time, hence fixed functions of
the image, and we measure how well the layer at every step holds them. A choice made up to half-time says nothing by
itself about what comes after. The images are split into thirds: the first chooses the directions, each layer is fitted
to them on the second, and correlations are measured on the last, so that chance is at zero and no direction is lucky.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import svcca
from reproduce.claims import judge
from reproduce.data.images import Images
from reproduce.drawing import band, new_figure, tidy
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study, Trained

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class DirectionsThroughTraining(Settings):
    """The nets and the layer.

    Attributes:
        nets: The settings of the conv nets, whose weights are kept at 21 steps.
        n_images: The number of test images, in three equal parts.
        layer: The layer whose directions are followed.
        share: The share of the layer's directions in each set.
        early: The fraction of training at which the directions of half-time are compared for the choice.
        tolerance: The distance from its last value within which accuracy must stay to have converged.
    """

    nets: SharedNets
    n_images: int
    layer: str = "fc1"
    share: float = 0.2
    early: float = 0.25
    tolerance: float = 0.01


SETTINGS = {
    "quick": DirectionsThroughTraining(seeds=2, nets=SHARED["quick"], n_images=597, tolerance=0.02),
    "cpu": DirectionsThroughTraining(nets=SHARED["cpu"], n_images=9000),
    "full": DirectionsThroughTraining(seeds=5, nets=SHARED["full"], n_images=9999),
}
ITEMS = (16,)
SETS = {
    "settled": "settled at half-time (top fifth)",
    "random": "random directions",
    "unsettled": "not settled (bottom fifth)",
}
COLOURS = {"settled": "C0", "random": "0.6", "unsettled": "C1"}


def run(study: Study) -> Outcome:
    """Follow both sets in each net, and judge them after its accuracy has converged."""
    settings: DirectionsThroughTraining = study.settings
    images = settings.nets.images(study)
    nets = [settings.nets.train_conv(study, images, seed) for seed in study.seeds]
    config = study.config(data=images.config)
    found = [
        study.analysis("net", config | {"seed": s}, partial(follow, nets[s], images, settings, s)) for s in study.seeds
    ]
    settled, unsettled = (np.array([net["sets"][kind] for net in found]) for kind in ("settled", "unsettled"))
    accuracies = [net["accuracies"] for net in found]
    starts = [converged_at(curve, settings.tolerance) for curve in accuracies]
    findings = [
        judge(
            "Directions that had settled by half-time stay to the end of training.",
            "correlation of the final layer with the directions that had settled, mean, on held-out images",
            settled[:, -1],
            above=0.9,
            limits=(-1, 1),
        ),
        judge(
            "After performance has converged, directions that had not settled move more than those that had.",
            "correlation lost between convergence of the accuracy and the end: unsettled less settled directions",
            movement_after(unsettled, starts) - movement_after(settled, starts),
            above=0.0,
            limits=(-2, 2),
        ),
        judge(
            "The end of training holds the settled directions better than the others.",
            "correlation of the final layer with the settled directions, less that with the unsettled ones",
            settled[:, -1] - unsettled[:, -1],
            above=0.0,
            limits=(-2, 2),
        ),
    ]
    return Outcome({"": draw(found, starts, settings)}, findings)


def follow(trained: Trained, images: Images, settings: DirectionsThroughTraining, seed: int) -> dict[str, Any]:
    """Correlate the layer at every kept step with the three sets, and measure the accuracy at each."""
    inputs, labels = images.test[: settings.n_images], images.test_labels[: settings.n_images]
    layers, accuracies = [], []
    for step in trained.steps:
        rows = svcca.activations(trained.net(step), inputs, layers=[settings.layer, "out"], progress=False)
        layers.append(rows[settings.layer])
        accuracies.append(float((rows["out"].argmax(dim=1) == labels.cpu()).double().mean()))
    fractions = np.array(trained.steps) / trained.steps[-1]
    early, half = (int(np.abs(fractions - at).argmin()) for at in (settings.early, 0.5))
    sets = choose_sets(layers[early], layers[half], settings.share, seed)
    curves = {kind: [held(rows, layers[half], directions) for rows in layers] for kind, directions in sets.items()}
    third = len(layers[0]) // 3
    sorted_ones = [svcca.cca(rows[:third], layers[-1][:third]).correlations.tolist() for rows in layers]
    return {"fractions": fractions.tolist(), "accuracies": accuracies, "sets": curves, "sorted": sorted_ones}


def choose_sets(early: Any, half: Any, share: float, seed: int) -> dict[str, Array]:
    """Split canonical directions of the layer at half-time by their correlation with an early step.

    Args:
        early: The rows of the layer at the early step, (n, p).
        half: The rows at half-time; only the first third of both is used.
        share: The share of all directions in each set.
        seed: The seed of the random set.

    Returns:
        Directions in units of the layer at half-time, (p, k): most and least correlated, and equally many random ones.
    """
    third = len(half) // 3
    directions = svcca.cca(early[:third], half[:third]).y_directions
    n_all = directions.shape[1]
    k = max(1, round(share * n_all))
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(n_all, k)))[0]
    return {"settled": directions[:, :k], "random": directions @ turn, "unsettled": directions[:, n_all - k :]}


def held(rows: Any, half: Any, directions: Array) -> float:
    """Return how well a layer holds directions of another: the mean canonical correlation on rows not used for the fit.

    Args:
        rows: The rows of the layer, (n, p): the second third is fitted, the last third evaluated.
        half: The rows of the layer that the directions belong to.
        directions: The directions, (p, k).
    """
    third = len(rows) // 3
    fitted, unseen = slice(third, 2 * third), slice(2 * third, 3 * third)
    # Rows stay in float32: as float64 their rounding would count as directions, which other rows do not have.
    variates = np.asarray(half, dtype=float) @ directions
    fit = svcca.cca(rows[fitted], variates[fitted])
    return float(fit.held_out(rows[unseen], variates[unseen]).mean())


def converged_at(accuracies: Any, tolerance: float) -> int:
    """Return the index of the first accuracy from which on all are within the tolerance of the last."""
    away = np.abs(np.asarray(accuracies) - accuracies[-1]) > tolerance
    return int(np.flatnonzero(away)[-1]) + 1 if away.any() else 0


def movement_after(curves: Any, starts: Any) -> Array:
    """Return the correlation that curves (n_seeds, n_steps) lose from their start (or half-time, if later) to the end.

    Before half-time a set is still approaching the point where it was chosen; only afterwards can it be lost.
    """
    half = (np.shape(curves)[1] - 1) // 2
    return np.array([curve[max(start, half)] - curve[-1] for curve, start in zip(curves, starts, strict=True)])


def draw(found: list[dict[str, Any]], starts: list[int], settings: DirectionsThroughTraining) -> Figure:
    """Draw sorted correlations with the end at a few steps, and both sets through training beside the accuracy."""
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
    fractions = np.array(found[0]["fractions"])
    for place in np.linspace(0, len(fractions) - 1, 6).round().astype(int)[:-1]:
        curves = [net["sorted"][place] for net in found]
        shortest = min(map(len, curves))  # a layer may lose a direction
        curve = np.mean([one[:shortest] for one in curves], axis=0)
        colour = _colour(fractions[place])
        left.plot(np.arange(1, shortest + 1), curve, color=colour, label=f"{fractions[place]:.0%} of training")
    left.set(xlabel=f"direction of {settings.layer}, sorted", ylabel="correlation with the final layer", ylim=(0, 1.02))
    left.legend(frameon=False, fontsize=8, loc="lower left")
    band(right, fractions, [net["accuracies"] for net in found], color="black", linestyle="--", linewidth=1)
    for kind in SETS:
        band(right, fractions, [net["sets"][kind] for net in found], color=COLOURS[kind], marker="o", markersize=3)
    converged = float(np.mean([fractions[start] for start in starts]))
    right.axvspan(max(converged, 0.5), 1, color="0.93", zorder=0)
    for at, text in ((settings.early, "early"), (0.5, "half-time")):
        right.axvline(at, color="0.7", linewidth=0.8, linestyle=":", zorder=0)
        right.annotate(text, (at + 0.01, 0.02), fontsize=8, color="0.4")
    handles = [Line2D([], [], color=COLOURS[kind], marker="o", markersize=3, label=text) for kind, text in SETS.items()]
    handles.append(Line2D([], [], color="black", linestyle="--", linewidth=1, label="test accuracy (share)"))
    figure.legend(handles=handles, frameon=False, fontsize=8, ncols=4, loc="outside upper center")
    right.set(xlabel="fraction of training (grey: accuracy has converged)", ylim=(0, 1.02))
    right.set_ylabel(f"correlation of {settings.layer} with the set")
    tidy(left)
    tidy(right)
    return figure


def _colour(fraction: float) -> tuple[float, float, float]:
    """Return a colour from light blue at the start to dark blue at the end."""
    return (0.75 * (1 - fraction), 0.3 + 0.5 * (1 - fraction), 0.55 + 0.4 * (1 - fraction))
