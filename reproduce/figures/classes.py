"""v1 Figure 6, v2 Figure 6: how much each layer knows of each class, over depth.

Every hidden layer of conv nets and residual nets is correlated with every class logit (averaged over positions: nothing
else can correlate with a logit). Classes that are alike should have curves over depth that run together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import new_figure, tidy
from reproduce.layers import CONV_HIDDEN, conv_depths, residual_depths, residual_hidden
from reproduce.order import rank_correlation
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study

Array = np.ndarray[Any, Any]
Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Classes(Settings):
    """The nets, the number of test images, and two pairs of classes that are alike within."""

    n_compared: int
    nets: SharedNets
    alike: tuple[Pair, Pair] = (("automobile", "truck"), ("cat", "dog"))


SETTINGS = {
    # Of digits these look alike; how like they are for a net is another matter.
    "quick": Classes(seeds=2, n_compared=597, nets=SHARED["quick"], alike=(("1", "7"), ("3", "8"))),
    "cpu": Classes(n_compared=5000, nets=SHARED["cpu"]),
    "full": Classes(seeds=5, n_compared=10_000, nets=SHARED["full"]),
}
ITEMS = (13,)
KINDS = {"conv": "conv net", "residual": "residual net"}


def run(study: Study) -> Outcome:
    """Correlate the layers of each net with its logits."""
    settings: Classes = study.settings
    images = settings.nets.images(study)
    inputs = images.test[: settings.n_compared]
    train = {"conv": settings.nets.train_conv, "residual": settings.nets.train_residual}
    nets = {kind: [one(study, images, seed) for seed in study.seeds] for kind, one in train.items()}
    layers = {"conv": CONV_HIDDEN, "residual": residual_hidden(settings.nets.residual.blocks)}
    depths = {"conv": conv_depths(), "residual": residual_depths(settings.nets.residual.blocks)}

    def looked_at(kind: str, seed: int) -> dict[str, Any]:
        net = nets[kind][seed].net()
        found = svcca.class_sensitivity(net, inputs, layers=list(layers[kind]), classes=images.classes, progress=False)
        values = {"values": found.values, "chance": found.chance, "corrected": found.corrected}
        return {name: value.tolist() for name, value in values.items()}

    config = study.config(data=images.config)
    sets = {
        kind: [
            study.analysis(kind, config | {"seed": s}, lambda kind=kind, s=s: looked_at(kind, s)) for s in study.seeds
        ]
        for kind in KINDS
    }
    arrays = {kind: {part: np.array([one[part] for one in found]) for part in found[0]} for kind, found in sets.items()}
    findings = [finding for kind in KINDS for finding in judged(arrays[kind], images.classes, settings.alike, kind)]
    return Outcome({"": draw(arrays, depths, images.classes, settings.alike)}, findings)


def judged(found: dict[str, Array], classes: tuple[str, ...], alike: tuple[Pair, Pair], kind: str) -> list[Finding]:
    """Judge both claims for one kind of net, from values (seeds, layers, classes)."""
    (a, b), (c, d) = alike
    return [
        judge(
            f"Layers are the more sensitive to a class the deeper they lie: {KINDS[kind]}.",
            "rank correlation of depth with the share of the logits' variance beyond chance, mean over classes; hidden "
            "layers",
            [rank_correlation(range(one.shape[0]), one.mean(axis=1)) for one in found["corrected"]],
            above=0.5,
            limits=(-1, 1),
        ),
        judge(
            f"Curves of classes that are alike run together: {KINDS[kind]}.",
            f"mean distance between curves across ({a}, {b}) and ({c}, {d}) less that within either pair; distance: "
            "root mean square over hidden layers of the difference in correlation",
            [apart(distances(one), classes, alike) for one in found["values"]],
            above=0.0,
            limits=(-1, 1),
        ),
    ]


def distances(curves: Array) -> Array:
    """Return the root mean square difference between the curves (n_layers, n_classes) of any two classes."""
    difference = curves[:, :, None] - curves[:, None, :]
    return np.sqrt((difference**2).mean(axis=0))


def apart(between: Array, classes: tuple[str, ...], alike: tuple[Pair, Pair]) -> float:
    """Return the mean distance between classes of different pairs, less that of classes of the same pair."""
    place = {name: index for index, name in enumerate(classes)}
    across = np.mean([between[place[one], place[other]] for one, other in product(*alike)])
    within = np.mean([between[place[one], place[other]] for one, other in alike])
    return float(across - within)


def draw(
    found: dict[str, dict[str, Array]], depths: dict[str, Array], classes: tuple[str, ...], alike: tuple[Pair, Pair]
) -> Figure:
    """Draw each class over depth for both kinds of net, and the distance between the curves of any two classes."""
    figure = new_figure(9, 3.7)
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.1])
    styles = {
        name: {"color": f"C{pair}", "linestyle": style}
        for pair, names in enumerate(alike)
        for name, style in zip(names, ("-", "--"), strict=True)
    }
    first = next(name for name in classes if name not in styles)
    for ax, (kind, parts) in zip(axes, found.items(), strict=False):
        for index, name in enumerate(classes):
            rest = {"color": "0.8", "linewidth": 1, "zorder": 1, "label": "other classes" if name == first else None}
            own = {"linewidth": 1.8, "label": name, "marker": ".", **styles[name]} if name in styles else rest
            ax.plot(depths[kind], parts["values"].mean(axis=0)[:, index], **own)
        ax.plot(depths[kind], parts["chance"].mean(axis=(0, 2)), color="0.4", linestyle=":", label="chance")
        ax.set(xlabel="depth, share of all layers", ylim=(0, 1.02), xlim=(0, 1))
        ax.set_title(KINDS[kind], fontsize=10)
        tidy(ax)
    axes[0].set_ylabel("correlation with the class logit")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=6, frameon=False, fontsize=8)
    both = np.array([distances(one) for parts in found.values() for one in parts["values"]]).mean(axis=0)
    picture = axes[2].imshow(both, cmap="magma", vmin=0)
    axes[2].set_xticks(range(len(classes)), classes, rotation=90, fontsize=8)
    axes[2].set_yticks(range(len(classes)), classes, fontsize=8)
    axes[2].set_title("all nets", fontsize=10)
    figure.colorbar(picture, ax=axes[2], label="distance between curves (rms)", shrink=0.8)
    return figure
