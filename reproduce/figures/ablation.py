"""Tutorial: a layer of a conv net on few directions by PCA, PLS and CCA, and with its neurons taken out in turn.

A removed neuron is set to its mean. Neurons are ordered by their importance to the layer's canonical directions,
sum_i rho_i |w_ij| s_j. The curves over directions are those of the figure `projection`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from reproduce.claims import Finding, judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.heads import LOGITS, PLS, PRINCIPAL, TWO_SEEDS, Heads, HeadSettings, pairs, projected
from reproduce.shared_nets import SHARED
from reproduce.study import Outcome, Study

Result = dict[str, Any]
LAYER = "fc1"
METHODS = (PLS, LOGITS, TWO_SEEDS, PRINCIPAL)
BY = (LOGITS, TWO_SEEDS)
"""Targets whose canonical directions determine how much a neuron matters."""
SHARES = (0.0, 0.05, *(round(0.1 * step, 1) for step in range(1, 11)))
"""Shares of the neurons that are removed."""


@dataclass(frozen=True, kw_only=True)
class AblationSettings(HeadSettings):
    """Number of k per doubling, as for `projection`, and of random orders in which neurons are removed."""

    per_octave: int
    n_orders: int


SETTINGS = {
    "quick": AblationSettings(seeds=2, nets=SHARED["quick"], n_seen=1200, n_evaluated=597, per_octave=2, n_orders=3),
    "cpu": AblationSettings(nets=SHARED["cpu"], n_seen=10_000, n_evaluated=5000, per_octave=4, n_orders=10),
    "full": AblationSettings(
        seeds=5, nets=SHARED["full"], n_seen=50_000, n_evaluated=10_000, per_octave=6, n_orders=20
    ),
}
ITEMS = (26,)


def run(study: Study) -> Outcome:
    """Project the layer of each net, and remove its neurons."""
    settings: AblationSettings = study.settings
    curves, ablations = [], []
    for config, heads in pairs(study):
        curves.append(projected(study, config, heads, LAYER, settings.per_octave))
        one = config | {"layer": LAYER, "shares": SHARES, "n_orders": settings.n_orders}
        make = partial(ablated_curves, heads, settings.n_orders, config["seed"])
        ablations.append(study.analysis("neurons", one, make))
    return Outcome({"": draw(curves, ablations)}, judged(curves, ablations))


def ablated_curves(heads: Callable[[], Heads], n_orders: int, seed: int) -> Result:
    """Return accuracy over the share of neurons removed, by order: most first, least first, and each random one."""
    both = heads()
    evaluate = both.accuracy_from(LAYER)
    found = {kind: both.directions(LAYER, kind) for kind in BY}
    mean = found[LOGITS].measured.moments.mean
    generator = torch.Generator().manual_seed(seed)

    def curve(order: Tensor) -> list[float]:
        values = []
        for share in SHARES:
            with ablated(both.net.get_submodule(LAYER), order[: round(share * len(order))], mean):
                values.append(evaluate(both.net))
        return values

    result: Result = {"random": [curve(torch.randperm(len(mean), generator=generator)) for _ in range(n_orders)]}
    for kind, directions in found.items():
        order = torch.from_numpy(np.argsort(directions.importance(directions.rank), kind="stable"))
        result[kind] = {"least": curve(order), "most": curve(order.flip(0))}
    return result


@contextmanager
def ablated(layer: nn.Module, neurons: Tensor, mean: Tensor) -> Iterator[None]:
    """Set some outputs of a layer to their mean while a block runs."""

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[:, neurons.to(output.device)] = mean[neurons.to(mean.device)].to(output)
        return changed

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def lead(curves: dict[str, list[float]], kind: str) -> float:
    """Return the points by which one kind of directions is ahead of the best of the others, each a mean over k."""
    means = {each: 100 * float(np.mean(curves[each])) for each in METHODS}
    return means[kind] - max(value for each, value in means.items() if each != kind)


def spared(ablation: Result, kind: str, which: str) -> float:
    """Return accuracy in points, mean over shares of neurons removed in an order, less that of random orders."""
    return 100 * float(np.mean(ablation[kind][which]) - np.mean(ablation["random"]))


def judged(curves: list[Result], ablations: list[Result]) -> list[Finding]:
    """Judge what the tutorial says, and whether the importance of a neuron means something."""
    return [
        judge(
            "For compression, directions of PLS do best.",
            "points of accuracy of PLS less those of the best of CCA and PCA, each a mean over numbers of directions",
            [lead(result["curves"], PLS) for result in curves],
            above=0.0,
            limits=(-100, 100),
        ),
        judge(
            "To take out neurons that matter least to canonical directions costs less than to take out random ones.",
            "points of accuracy, mean over shares taken out, less those of random orders (CCA with the logits)",
            [spared(ablation, LOGITS, "least") for ablation in ablations],
            above=0.0,
            limits=(-100, 100),
        ),
        judge(
            "To take out neurons that matter most to canonical directions costs more than to take out random ones.",
            "points of accuracy, mean over shares taken out, less those of random orders (CCA with the logits)",
            [spared(ablation, LOGITS, "most") for ablation in ablations],
            below=0.0,
            limits=(-100, 100),
        ),
    ]


def draw(curves: list[Result], ablations: list[Result]) -> Figure:
    """Draw accuracy over directions kept, and over neurons removed."""
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2, sharey=True)
    for number, kind in enumerate(METHODS):
        band(left, curves[0]["ks"], [result["curves"][kind] for result in curves], color=f"C{number}", label=kind)
    left.set_xscale("log", base=2)
    left.xaxis.set_major_formatter("{x:g}")
    left.set(xlabel=f"directions kept of {LAYER}", ylabel="test accuracy")
    percent = 100 * np.array(SHARES)
    for number, kind in enumerate(BY, 1):
        for which, dashes in (("least", "-"), ("most", ":")):
            lines = [ablation[kind][which] for ablation in ablations]
            band(right, percent, lines, color=f"C{number}", linestyle=dashes, label=f"{which} first, {kind}")
    orders = [np.mean(ablation["random"], axis=0) for ablation in ablations]
    band(right, percent, orders, color="0.5", linestyle="--", label="random order")
    right.set(xlabel=f"neurons of {LAYER} taken out, %")
    for ax in (left, right):
        ax.axhline(np.mean([result["unprojected"] for result in curves]), color="black", linewidth=0.6, zorder=0)
        tidy(ax)
    left.legend(frameon=False, fontsize=8, loc="lower right")
    right.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure
