"""Figure 4, App. Figure 3: every layer through training against the layers at its end; bottom-up?

A feature is a channel averaged over positions, so that all layers can be compared with each other at every kept step.
The paper takes whole maps: the conv net's are compared that way too, by spatial frequency, at fewer steps.
Convolutional layers are taken after their ReLU, or after a residual block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import new_figure, tidy
from reproduce.layers import CONV_HIDDEN, CONV_PLOTTED, residual_hidden
from reproduce.order import bottom_up, from_their_start, time_apart
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study, Trained

Array = np.ndarray[Any, Any]
Found = dict[str, Any]
"""Results for one kind of net and features: layers, steps; and, seeds first, curves, panes, another seed, chance."""


@dataclass(frozen=True, kw_only=True)
class Dynamics(Settings):
    """Which nets, on how many test images; whole maps are compared at each so many kept steps beside the panes'."""

    n_compared: int
    n_fourier: int
    every: int
    nets: SharedNets


SETTINGS = {
    "quick": Dynamics(seeds=2, n_compared=200, n_fourier=100, every=20, nets=SHARED["quick"]),
    "cpu": Dynamics(n_compared=1500, n_fourier=1000, every=4, nets=SHARED["cpu"]),
    "full": Dynamics(seeds=5, n_compared=5000, n_fourier=5000, every=1, nets=SHARED["full"]),
}
ITEMS = (5, 6)
PANES = (0.0, 0.35, 0.75, 1.0)
MAPS = ("relu1", "relu2", "relu3", "relu4", "relu5", "pool2")
TITLES = {"conv": "conv net, averages", "maps": "conv net, whole maps", "residual": "residual net, averages"}


def run(study: Study) -> Outcome:
    """Compare each net at the kept steps with its end, and its end with another seed's."""
    settings: Dynamics = study.settings
    images = settings.nets.images(study)
    train = {"conv": settings.nets.train_conv, "residual": settings.nets.train_residual}
    n_nets = max(settings.seeds, 2)  # each is held against another one
    nets = {kind: [one(study, images, seed) for seed in range(n_nets)] for kind, one in train.items()}
    blocks = settings.nets.residual.blocks
    layers = {"conv": list(CONV_PLOTTED), "residual": residual_plotted(blocks)}

    def followed(sort: str, seed: int, another: int) -> Found:
        kind = "residual" if sort == "residual" else "conv"
        net, other = nets[kind][seed], nets[kind][another]
        if sort == "maps":
            return whole_maps(net, other.net(), images.test[: settings.n_fourier], settings.every)
        return averages(net, other.net(), images.test[: settings.n_compared], layers[kind])

    config = study.config(data=images.config)

    def analysed(sort: str, seed: int) -> Found:
        other = (seed + 1) % n_nets
        return study.analysis(sort, config | {"seed": seed, "other": other}, lambda: followed(sort, seed, other))

    found = {sort: gathered([analysed(sort, seed) for seed in study.seeds]) for sort in TITLES}
    hidden = {"conv": list(CONV_HIDDEN), "maps": list(MAPS[:5]), "residual": list(residual_hidden(blocks))[:-1]}
    top = {"conv": ("relu7", "out"), "residual": ("relu2", "out")}
    findings = [f for sort, names in hidden.items() for f in judged_order(found[sort], names, top.get(sort), sort)]
    findings += judged_patterns(found["conv"], found["residual"], blocks)
    shown = {"conv": [*CONV_HIDDEN, "out"], "maps": list(MAPS), "residual": [*residual_hidden(blocks), "out"]}
    return Outcome(
        {"": draw_panes(found), "curves": draw_curves(found, shown, settings.nets.conv_training.decay_at)}, findings
    )


def residual_plotted(blocks: int) -> list[str]:
    """Return the layers of the residual net's plot; of each block its ReLU, its last batch norm, and its output."""
    inside = [f"block{number + 1}{part}" for number in range(3 * blocks) for part in (".2", ".4", "")]
    return ["relu1", *inside, "bn", "relu2", "out"]


def averages(net: Trained, other: Any, inputs: Any, layers: list[str]) -> Found:
    """Follow all layers, averaged over positions, at every kept step."""
    states = [net.states[step] for step in net.steps]
    dynamics = svcca.learning_dynamics(
        net.net(), states, inputs, layers=layers, observe="pool", steps=net.steps, progress=False
    )
    twins = svcca.compare(net.net(), other, inputs, layers=layers, observe="pool", progress=False)
    panes = [dynamics.at(net.steps[place]).values.tolist() for place in pane_places(len(net.steps))]
    about = {"layers": list(dynamics.labels), "steps": net.steps, "curves": dynamics.curves.tolist(), "panes": panes}
    chance = np.diagonal(dynamics.chance, axis1=1, axis2=2).mean(axis=0)
    return about | {"other": twins.values.diagonal().tolist(), "chance": chance.tolist()}


def whole_maps(net: Trained, other: Any, inputs: Any, every: int) -> Found:
    """Follow the conv net's maps, by spatial frequency, at every so many of the kept steps and those of the panes."""
    n_kept = len(net.steps)
    steps = [net.steps[place] for place in sorted({*range(0, n_kept, every), *pane_places(n_kept)})]

    def twins(one: Any) -> svcca.SimilarityMatrix:
        return svcca.compare(one, net.net(), inputs, layers=list(MAPS), observe="fourier", progress=False)

    matrices = [twins(net.net(step)) for step in steps]
    last = twins(other)
    return {
        "layers": list(last.row_labels),
        "steps": steps,
        "curves": [matrix.values.diagonal().tolist() for matrix in matrices],
        "other": last.values.diagonal().tolist(),
        "chance": np.mean([matrix.chance.diagonal() for matrix in matrices], axis=0).tolist(),
    }


def pane_places(n_kept: int) -> list[int]:
    """Return which of the equally spaced kept steps lie at the shares of training of the panes."""
    return [round(share * (n_kept - 1)) for share in PANES]


def gathered(ones: list[Found]) -> Found:
    """Stack the seeds along the first axis; all share the names of the layers and the steps."""
    parts = [part for part in ones[0] if part not in ("layers", "steps")]
    same = {"layers": ones[0]["layers"], "steps": np.array(ones[0]["steps"])}
    return same | {part: np.array([one[part] for one in ones]) for part in parts}


def stripes(matrix: Array, outputs: list[int], inside: list[list[int]]) -> float:
    """Return how much more similar blocks' outputs are to later outputs than to the inside of those later blocks."""
    found = [
        matrix[outputs[early], outputs[late]] - matrix[outputs[early], inside[late]].mean()
        for late in range(len(outputs))
        for early in range(late)
    ]
    return float(np.mean(found))


def judged_order(found: Found, hidden: list[str], top: tuple[str, str] | None, sort: str) -> list[Finding]:
    """Judge whether lower layers converge first, with a control for their start, and whether the top differs."""
    steps, place = found["steps"], {name: index for index, name in enumerate(found["layers"])}
    curves = found["curves"][:, :, [place[name] for name in hidden]]
    text = "rank correlation of depth with mean dissimilarity to the end over training, "
    text += f"{label(hidden[0], sort)} to {label(hidden[-1], sort)}"
    values = [bottom_up(one, steps) for one in curves]
    relative = [bottom_up(from_their_start(one), steps) for one in curves]
    findings = [
        judge(f"Lower layers converge first: {TITLES[sort]}.", text, values, above=0.5, limits=(-1, 1)),
        judge(
            f"Control: they do so counted from where each layer starts at random: {TITLES[sort]}.",
            f"{text}, each curve rescaled to start at 0",
            relative,
            above=0.5,
            limits=(-1, 1),
        ),
    ]
    if top is None:
        return findings
    below, last = (found["curves"][:, :, place[name]] for name in top)
    gaps = [time_apart(one, steps) - time_apart(other, steps) for one, other in zip(below, last, strict=True)]
    claim = f"The very top is the exception, and converges before the layer below it: {TITLES[sort]}."
    return [
        *findings,
        judge(claim, "similarity to the end over training, mean: out less the last hidden layer", gaps, above=0.0),
    ]


def judged_patterns(conv: Found, residual: Found, blocks: int) -> list[Finding]:
    """Judge the squares of batch norm in the conv net and the stripes of the residual net, both at the end."""
    names = conv["layers"]
    before = [(index - 1, index) for index, name in enumerate(names) if name.startswith("bn")]
    place = {name: index for index, name in enumerate(residual["layers"])}
    outputs = [place[f"block{number + 1}"] for number in range(3 * blocks)]
    inside = [[place[f"block{number + 1}{part}"] for part in (".2", ".4")] for number in range(3 * blocks)]
    return [
        judge(
            "Batch norm equals the layer before it, but for the directions that the SVD step keeps.",
            "similarity of a batch norm layer to the ReLU that it normalises, trained conv net, mean over four",
            [np.mean([pane[-1][one, other] for one, other in before]) for pane in conv["panes"]],
            above=0.99,
            limits=(0, 1),
        ),
        judge(
            "Residual nets show stripes: skip connections make layers like those that the shortcut comes from.",
            "similarity of a block's output to a later block's output, less that to what is inside that later block; "
            "trained net, mean over pairs of blocks",
            [stripes(pane[-1], outputs, inside) for pane in residual["panes"]],
            above=0.0,
            limits=(-1, 1),
        ),
    ]


def label(module: str, sort: str) -> str:
    """Return the papers' name of a module."""
    names = {"relu1": "conv1", "relu2": "fc"} if sort == "residual" else CONV_HIDDEN
    return names.get(module, module)


def draw_panes(found: dict[str, Found]) -> Figure:
    """Draw layers against layers at the end, at four times of training, mean over seeds."""
    figure = new_figure(9, 5.2)
    axes = figure.subplots(2, len(PANES))
    for row, kind in zip(axes, ("conv", "residual"), strict=True):
        names = [label(name, kind) for name in found[kind]["layers"]]
        # Of the residual net's many layers not those inside blocks are named, nor the batch norm between the last two.
        ticks = [place for place, name in enumerate(names) if "." not in name and name != "bn"]
        for ax, share, pane in zip(row, PANES, found[kind]["panes"].mean(axis=0), strict=True):
            picture = ax.imshow(pane, vmin=0, vmax=1, cmap="magma", interpolation="nearest")
            ax.set_title(f"{share:.0%} of training", fontsize=9)
            ax.set_xticks(ticks, [names[place] for place in ticks], rotation=90, fontsize=6)
            ax.set_yticks(ticks, [names[place] for place in ticks] if share == 0 else [], fontsize=6)
        row[0].set_ylabel(f"{kind} net, at that time", fontsize=9)
    figure.supxlabel("layers at the end of training", fontsize=9)
    figure.colorbar(picture, ax=axes, label="SVCCA similarity", shrink=0.7)
    return figure


def draw_curves(found: dict[str, Found], shown: dict[str, list[str]], decay_at: tuple[float, ...]) -> Figure:
    """Draw one line per layer over training, mean over seeds, with another seed at the end, and falls of the rate."""
    figure = new_figure(9, 4.2)
    for ax, (sort, names) in zip(figure.subplots(1, 3, sharey=True), shown.items(), strict=True):
        for share in decay_at:
            text = "rate / 10" if share == decay_at[0] else None
            ax.axvline(100 * share, color="0.6", linestyle=":", linewidth=1, zorder=0, label=text)
        _draw_lines(ax, found[sort], names, sort)
        ax.set_title(TITLES[sort], fontsize=10)
    figure.axes[0].set_ylabel("SVCCA similarity to the end")
    return figure


def _draw_lines(ax: Axes, found: Found, names: list[str], sort: str) -> None:
    places = [found["layers"].index(name) for name in names]
    colours = colormaps["viridis"](np.linspace(0, 0.92, len(names)))
    shares = 100 * found["steps"] / found["steps"][-1]
    for name, place, colour in zip(names, places, colours, strict=True):
        style = {"color": "C3", "linestyle": "--"} if name == "out" else {"color": colour}
        ax.plot(shares, found["curves"].mean(axis=0)[:, place], linewidth=1.3, label=label(name, sort), **style)
        ax.plot(106, found["other"].mean(axis=0)[place], "_", color=style["color"], markersize=8, clip_on=False)
    level = found["chance"].mean(axis=0)[places]
    ax.axhspan(level.min(), level.max(), color="0.85", linewidth=0, label="chance", zorder=0)
    ax.set(xlabel="training, % (right: another seed)", ylim=(0, 1.02), xlim=(0, 109), xticks=range(0, 101, 25))
    ax.legend(frameon=False, fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    tidy(ax)
