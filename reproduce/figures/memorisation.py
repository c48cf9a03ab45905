"""Morcos et al., Figure 3: nets that generalise agree with each other more than nets that memorise.

Two groups of nets: one trained on true labels, the other on one fixed permutation of them. We compute the PWCCA
distance of every layer of every net to the same layer of every other net, with maps averaged over space, on training
and on test images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from reproduce.between_nets import LAYERS, across, array, distances, jackknife, within
from reproduce.claims import half_width, judge
from reproduce.data.images import Images
from reproduce.drawing import new_figure, tidy
from reproduce.nets import Net
from reproduce.study import Entry, Outcome, Settings, Study, with_labels
from reproduce.training import FAST, Training

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Memorisation(Settings):
    """The nets, how they are trained, and the number of images they are compared on.

    Attributes:
        seeds: The number of nets in each group; at least two are trained.
    """

    n_train: int
    n_test: int
    n_compared: int
    net: Net
    training: Training


SETTINGS = {
    "quick": Memorisation(
        seeds=3,
        n_train=250,
        n_test=500,
        n_compared=500,
        net=Net(width=6),
        training=Training(epochs=18, batch=25, learning_rate=5e-3, snapshots=1),
    ),
    "cpu": Memorisation(
        seeds=5,
        n_train=2000,
        n_test=2000,
        n_compared=2000,
        net=Net(width=8),
        training=Training(epochs=40, batch=50, learning_rate=3e-3, snapshots=1),
    ),
    "cpu2": Memorisation(
        seeds=5,
        n_train=40_000,
        n_test=10_000,
        n_compared=10_000,
        net=Net(width=32),
        training=Training(epochs=80, decay_at=(0.6, 0.85), snapshots=1, **FAST),
    ),
    "full": Memorisation(
        seeds=5,
        n_train=50_000,
        n_test=10_000,
        n_compared=10_000,
        net=Net(width=64),
        training=Training(epochs=150, snapshots=1),
    ),
}
ITEMS = (18,)
EARLY, LATE = ("relu1",), ("relu6", "relu7")
ALIKE = 0.05
"""Distances that differ by less are alike: a third of what the paper has between groups in late layers, 0.15."""
APART = 1000
"""Added to the seeds of memorising nets, so that no two nets start from the same weights."""
GROUPS = {
    "generalising": "two generalising nets",
    "memorising": "two memorising nets",
    "across": "one of each",
    "untrained": "two untrained nets",
}


def run(study: Study) -> Outcome:
    """Train both groups, compare all nets with each other, judge the groups' distances on training images."""
    settings: Memorisation = study.settings
    n = max(settings.seeds, 2)
    images = study.images(settings.n_train, settings.n_test)
    permuted = with_permuted_labels(images)
    true = [study.train_net(settings.net, settings.training, images, seed) for seed in range(n)]
    false = [study.train_net(settings.net, settings.training, permuted, APART + seed) for seed in range(n)]
    nets = [each.net() for each in (*true, *false)] + [each.net(0) for each in true]
    found = {}
    for split, inputs in (("training", images.train), ("test", images.test)):
        config = study.config(data=images.config, split=split, n_nets=n)
        part = inputs[: settings.n_compared]
        found[split] = study.analysis("groups", config, lambda part=part: distances(nets, part))  # type: ignore[misc]
    matrices = array(found["training"])
    findings = [
        judge(
            "Both groups have learned their training labels: memorising nets the permuted ones by heart "
            "(what the other claims rest on).",
            "training accuracy of each net, of both groups",
            [net.facts["train_accuracy"] for net in (*true, *false)],
            above=0.99,
            limits=(0, 1),
        ),
        judge(
            "In the first layer all groups of nets are equally similar.",
            "conv1: largest mean distance of the three groups of pairs less the smallest (jackknife over seeds)",
            widest_gap(matrices, n, ("generalising", "memorising", "across"), EARLY),
            below=ALIKE,
        ),
        judge(
            "In late layers generalising nets agree with each other more than memorising nets do.",
            "fc1 and fc2: mean distance of memorising nets, less that of generalising nets (jackknife over seeds)",
            gap(matrices, n, "memorising", "generalising"),
            above=0.0,
        ),
        judge(
            "In late layers generalising nets agree with each other more than with memorising nets.",
            "fc1 and fc2: mean distance across groups, less that of generalising nets (jackknife over seeds)",
            gap(matrices, n, "across", "generalising"),
            above=0.0,
        ),
        judge(
            "In late layers memorising nets are as far from each other as from generalising nets.",
            "fc1 and fc2: size of the difference between the mean distances of memorising nets and across groups "
            "(jackknife over seeds)",
            widest_gap(matrices, n, ("memorising", "across"), LATE),
            below=ALIKE,
        ),
    ]
    return Outcome({"": draw({split: _curves(each, n) for split, each in found.items()})}, findings)


def queue(study: Study, settings: Memorisation, images: Images) -> Iterator[Entry]:
    """Go through the nets of both groups in turn; memorising ones first, as they are what may fail."""
    part = images.first(settings.n_train, settings.n_test)
    permuted = with_permuted_labels(part)
    for seed in range(max(settings.seeds, 2)):
        yield study.net_entry(
            settings.net, settings.training, permuted, APART + seed, " (memorisation, permuted labels)"
        )
        yield study.net_entry(settings.net, settings.training, part, seed, " (memorisation)")


def with_permuted_labels(images: Images) -> Images:
    """Replace the labels of the training images by one fixed permutation of them."""
    order = torch.randperm(len(images.train_labels), generator=torch.Generator().manual_seed(0))
    return with_labels(images, images.train_labels[order.to(images.train_labels.device)], "permuted")


def groups(matrices: Array, n: int, kept: Sequence[int]) -> dict[str, Array]:
    """Return the mean distance of each group of pairs, by layer.

    Args:
        matrices: The distances (n_layers, 3 n, 3 n): n generalising, n memorising, n untrained nets.
        n: The number of nets in a group.
        kept: The nets of each group to include.
    """
    general, memorising, untrained = ([start + seed for seed in kept] for start in (0, n, 2 * n))
    return {
        "generalising": within(matrices, general),
        "memorising": within(matrices, memorising),
        "across": across(matrices, general, memorising),
        "untrained": within(matrices, untrained),
    }


def gap(matrices: Array, n: int, farther: str, nearer: str, layers: Sequence[str] = LATE) -> list[float]:
    """Return the mean distance of one group of pairs less that of another, over some layers, jackknifed over seeds."""
    places = [list(LAYERS).index(layer) for layer in layers]

    def difference(kept: list[int]) -> float:
        means = groups(matrices[places], n, kept)
        return float((means[farther] - means[nearer]).mean())

    return jackknife(n, difference)


def widest_gap(matrices: Array, n: int, names: Sequence[str], layers: Sequence[str]) -> list[float]:
    """Return the gap between the two groups that are farthest apart: small only if all are alike."""
    pairs = [(farther, nearer) for farther in names for nearer in names if farther != nearer]
    return max((gap(matrices, n, *pair, layers) for pair in pairs), key=np.mean)


def _curves(matrices: Any, n: int) -> dict[str, Array]:
    """Return each group's jackknife values (n_seeds, n_layers), and the distance of unrelated layers (n_layers,)."""
    distance, chance = array(matrices), array(matrices, "chance")

    def values(name: str, place: int) -> list[float]:
        return jackknife(n, lambda kept: float(groups(distance, n, kept)[name][place]))

    curves = {name: np.array([values(name, place) for place in range(len(LAYERS))]).T for name in GROUPS}
    return curves | {"chance": within(chance, range(2 * n))}


def draw(curves: dict[str, dict[str, Array]]) -> Figure:
    """Draw each group's mean distance with its 95% interval, a panel for each kind of images."""
    figure = new_figure(9, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(LAYERS))
    for ax, (split, means) in zip(panels, curves.items(), strict=True):
        for number, (name, label) in enumerate(GROUPS.items()):
            bars = [half_width(values) for values in means[name].T] if len(means[name]) > 1 else None
            ax.errorbar(
                places + (number - 1.5) * 0.08,
                means[name].mean(axis=0),
                bars,
                color="0.6" if name == "untrained" else f"C{number}",
                marker="so^d"[number],
                markersize=4,
                linewidth=1.2,
                elinewidth=0.8,
                label=label,
            )
        ax.plot(places, means["chance"], color="0.4", linestyle=":", label="unrelated layers")
        ax.set_xticks(places, LAYERS.values(), rotation=45)
        ax.set(title=f"on {split} images", ylim=(0, 1))
        tidy(ax)
    panels[0].set_ylabel("distance, 1 - PWCCA")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure
