"""Morcos et al., Figure 4: wider nets converge to more similar solutions, and to better ones.

Nets of six widths. We measure the PWCCA distance between seeds of one width over all hidden layers and, as in the
paper, between equally many random units of each net; before and after training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from reproduce.between_nets import HIDDEN, across, array, captured, jackknife, of_rows, within
from reproduce.claims import judge
from reproduce.data.images import Images
from reproduce.drawing import new_figure, tidy
from reproduce.nets import Net
from reproduce.study import Entry, Outcome, Settings, Study
from reproduce.training import FAST, Training

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Width(Settings):
    """The nets, how they are trained, and the number of test images they are compared on.

    Attributes:
        seeds: The number of nets of each width; at least two are trained.
        n_units: The number of units of fc1 that are compared, whatever the width.
    """

    n_train: int
    n_test: int
    n_compared: int
    n_units: int
    widths: tuple[int, ...]
    net: Net
    training: Training


SETTINGS = {
    "quick": Width(
        n_train=600,
        n_test=597,
        n_compared=597,
        n_units=16,
        widths=(4, 8, 16),
        net=Net(),
        training=Training(epochs=6, batch=40, learning_rate=5e-3, snapshots=1),
    ),
    "cpu": Width(
        n_train=4000,
        n_test=5000,
        n_compared=5000,
        n_units=16,
        widths=(2, 4, 8, 16, 32, 56),
        net=Net(),
        training=Training(epochs=6, batch=64, snapshots=1),
    ),
    "cpu2": Width(
        seeds=5,
        n_train=20_000,
        n_test=10_000,
        n_compared=10_000,
        n_units=128,
        widths=(16, 24, 32, 48, 64, 96),
        net=Net(),
        training=Training(epochs=15, translate=2, snapshots=1, **FAST),
    ),
    "full": Width(
        seeds=5,
        n_train=50_000,
        n_test=10_000,
        n_compared=10_000,
        n_units=128,
        widths=(16, 32, 64, 128, 256, 448),
        net=Net(),
        training=Training(epochs=100, translate=4, snapshots=1),
    ),
}
ITEMS = (19,)
UNITS_OF = "relu6"
"""The layer that random units are taken from: the widest, so that the narrowest net has enough of them."""


def run(study: Study) -> Outcome:
    """Train all seeds of every width, and compare those of one width with each other."""
    settings: Width = study.settings
    n = max(settings.seeds, 2)
    images = study.images(settings.n_train, settings.n_test)
    inputs = images.test[: settings.n_compared]
    found, accuracies = [], []
    for width in settings.widths:
        spec = replace(settings.net, width=width)
        trained = [study.train_net(spec, settings.training, images, seed) for seed in range(n)]

        def compared(trained: list[Any] = trained) -> dict[str, Any]:
            nets = [net.net(step) for step in (None, 0) for net in trained]
            return measured([captured(net, inputs, HIDDEN) for net in nets], settings.n_units)

        # The key names this width alone, so that another list of widths finds those that were compared before.
        config = study.config(data=images.config, widths=width, n_nets=n)
        found.append(study.analysis("width", config, compared))
        accuracies.append([net.accuracy for net in trained])
    share, units, chance = stacked(found)
    doublings, accuracy = np.log2(settings.widths), np.array(accuracies)
    before = range(n, 2 * n)
    findings = [
        judge(
            "Wider nets converge to more similar solutions.",
            "fall of the distance a doubling of width; distance as a share of what unrelated layers of that width "
            "have, mean over hidden layers (jackknife over seeds)",
            jackknife(n, lambda kept: fall(doublings, within(share, kept))),
            above=0.0,
        ),
        judge(
            "They do so also when as many units of each net are compared.",
            f"fall of the distance a doubling of width, {settings.n_units} random units of fc1 (jackknife over seeds)",
            jackknife(n, lambda kept: fall(doublings, within(units, kept))),
            above=0.0,
        ),
        judge(
            "Training does it: untrained nets of the same widths do not show as much of it.",
            "fall of the distance a doubling of width (as in the first claim), less that of the same nets before "
            "training (jackknife over seeds)",
            jackknife(
                n,
                lambda kept: (
                    fall(doublings, within(share, kept)) - fall(doublings, within(share, [before[i] for i in kept]))
                ),
            ),
            above=0.0,
        ),
        judge(
            "Nets that are more similar are also more accurate (paper: correlation -0.96).",
            "correlation over widths of a net's test accuracy with its mean distance to the other seeds (as many "
            "units); one value a seed",
            [correlation(accuracy[:, seed], of_net(units, seed, n)) for seed in range(n)],
            below=-0.5,
            limits=(-1, 1),
        ),
    ]
    return Outcome({"": draw(settings.widths, n, share, units, chance, accuracy)}, findings)


def queue(study: Study, settings: Width, images: Images) -> Iterator[Entry]:
    """Go through all widths of a seed before those of the next."""
    part = images.first(settings.n_train, settings.n_test)
    for seed in range(max(settings.seeds, 2)):
        for width in settings.widths:
            yield study.net_entry(replace(settings.net, width=width), settings.training, part, seed, " (width)")


def measured(rows: Sequence[dict[str, Any]], n_units: int) -> dict[str, Any]:
    """Compare all nets in every layer, and in equally many random units of one layer."""
    chosen = [some_units(net[UNITS_OF], n_units, seed) for seed, net in enumerate(rows)]
    return {"layers": {layer: of_rows([net[layer] for net in rows]) for layer in HIDDEN}, "units": of_rows(chosen)}


def some_units(rows: torch.Tensor, n_units: int, seed: int) -> torch.Tensor:
    """Take so many random units of a layer (n_samples, n_features); all of them if there are fewer."""
    return rows[:, torch.randperm(rows.shape[1], generator=torch.Generator().manual_seed(seed))[:n_units]]


def stacked(found: Sequence[dict[str, Any]]) -> tuple[Array, Array, Array]:
    """Return the measurements as arrays (n_widths, n_nets, n_nets).

    Returns:
        The distance as a share of that of unrelated layers, mean over layers; the distance of equally many units; the
        distance of unrelated layers, mean over layers.
    """
    distance, chance = (np.array([array(each["layers"], what) for each in found]) for what in ("distance", "chance"))
    share = distance / np.maximum(chance, np.finfo(float).tiny)  # the diagonal is 0 in both, and never looked at
    return share.mean(axis=1), np.array([each["units"]["distance"] for each in found]), chance.mean(axis=1)


def fall(doublings: Array, distance: Array) -> float:
    """Return how much a distance (n_widths,) falls with each doubling of the width: minus the slope of a line."""
    return -float(np.polyfit(doublings, distance, 1)[0])


def of_net(matrices: Array, net: int, n: int) -> Array:
    """Return the mean distance (n_widths,) of one of the first n nets to the others."""
    return across(matrices, [net], [other for other in range(n) if other != net])


def correlation(accuracy: Array, distance: Array) -> float:
    """Return Pearson's correlation over widths."""
    return float(np.corrcoef(accuracy, distance)[0, 1])


def draw(widths: Sequence[int], n: int, share: Array, units: Array, chance: Array, accuracy: Array) -> Figure:
    """Draw both distances against width, one dot per pair, and accuracy against distance."""
    figure = new_figure(9, 3.6)
    left, middle, right = figure.subplots(1, 3)
    first, second = np.triu_indices(n, 1)
    for ax, matrix in ((left, share), (middle, units)):
        for start, label, style in ((0, "trained", "C0"), (n, "untrained", "0.55")):
            pairs = matrix[:, start + first, start + second]
            ax.plot(widths, pairs, color=style, marker="o", markersize=3, linestyle="", alpha=0.5)
            ax.plot(widths, pairs.mean(axis=1), color=style, label=label)
        ax.set_xscale("log", base=2)
        ax.set_xticks(widths, [str(width) for width in widths])
        ax.minorticks_off()
        ax.set(xlabel="width (channels of a convolution)")
        tidy(ax)
    left.plot(widths, within(chance, range(n)), color="0.4", linestyle=":", label="unrelated (1 - chance)")
    left.set(ylabel="distance (share of unrelated layers')", ylim=(0, 1.05), title="all units, hidden layers")
    middle.set(ylabel="distance, 1 - PWCCA", ylim=(0, 1.05), title="as many units of fc1")
    left.legend(frameon=False, fontsize=8)
    for number, width in enumerate(widths):
        apart = [of_net(units, seed, n)[number] for seed in range(n)]
        right.plot(apart, accuracy[number], "o", markersize=4, color=f"C{number}", label=f"{width}")
    right.set(xlabel="distance, as many units of fc1", ylabel="test accuracy", title="each net")
    right.legend(title="width", frameon=False, fontsize=7, title_fontsize=7)
    tidy(right)
    return figure
