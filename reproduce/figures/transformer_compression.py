"""Beyond the papers: the MLPs of a transformer, compressed (2017, section 4.4).

A causal language model over the frequent words of WikiText-2. Its MLPs are compressed by the methods of
`svcca.compress` to equal numbers of weights; the loss is that of the whole network on unseen text.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import nn

import svcca
from reproduce.claims import Finding, judge
from reproduce.data.text import Text
from reproduce.drawing import band, new_figure, tidy
from reproduce.language import bigram_loss, mean_loss, unigram_loss, windows
from reproduce.study import Outcome, Settings, Study
from reproduce.training import Training
from reproduce.transformer import Transformer, last_hidden
from svcca.compress import compression_curve


@dataclass(frozen=True, kw_only=True)
class Compression(Settings):
    """The text, the network, and the number of windows of the training text that its layers are measured on."""

    n_words: int = 2000
    n_train: int = 250_000
    n_valid: int = 32_000
    n_measured: int = 160
    net: Transformer = field(default_factory=Transformer)
    training: Training = field(
        default_factory=lambda: Training(epochs=6, batch=16, learning_rate=2e-3, decay_at=(0.5, 0.75), clip=1.0)
    )


SETTINGS = {
    "quick": Compression(
        seeds=2,
        n_words=40,
        n_train=6000,
        n_valid=1700,
        n_measured=64,
        net=Transformer(width=32, n_layers=1, context=16),
        training=Training(epochs=6, batch=16, learning_rate=4e-3, clip=1.0),
    ),
    "cpu": Compression(),
    "full": Compression(
        seeds=5,
        n_words=10_000,
        n_train=2_500_000,
        n_valid=250_000,
        n_measured=2000,
        net=Transformer(width=512, n_layers=6, context=128),
        training=Training(epochs=10, batch=32, learning_rate=6e-4, clip=1.0),
    ),
}
ITEMS = ()
MLPS = "model.layers.*.mlp.*_proj"
RATIOS = (0.75, 0.5, 0.35, 0.25, 0.15)
"""Weights of the MLPs after over weights before."""
HALF = RATIOS.index(0.5)
WAYS = {"layer's outputs": "outputs", "weights (SVD)": "weights", "logits (CCA)": "logits", "PCA": "pca"}
ACCEPTED = 0.05
"""Nats a token that MLPs of half the weights may lose."""


def run(study: Study) -> Outcome:
    """Train, compress by every method to every size, and judge."""
    settings: Compression = study.settings
    text = study.text(settings.n_words, settings.n_train, settings.n_valid)
    trained = [settings.net.train(study, text, settings.training, seed) for seed in study.seeds]
    config = study.config(data=text.config, ways=WAYS, ratios=RATIOS)
    found = [
        study.analysis("measured", config | {"seed": s}, lambda s=s: measure(study, trained[s].net(), text))
        for s in study.seeds
    ]
    counted = {"words": unigram_loss(text), "pairs of words": bigram_loss(text)}
    return Outcome({"": draw(found, counted)}, judged(found, counted))


def measure(study: Study, net: nn.Module, text: Text) -> dict[str, Any]:
    """Return the loss, the increase by each method and size, and the saving at half of the weights, layer by layer."""
    settings: Compression = study.settings
    seen = windows(text.train, settings.net.context)[: settings.n_measured, :-1].to(study.device).split(32)
    judged_on = windows(text.valid, settings.net.context).to(study.device)

    def evaluate(network: nn.Module) -> float:
        return -mean_loss(network, judged_on)

    options: dict[str, Any] = {"layers": MLPS, "forward": last_hidden, "progress": False}
    curve = compression_curve(net, seen, evaluate, ratios=RATIOS, against=WAYS, **options)
    half = svcca.compress(net, seen, ratio=0.5, **options)
    report = svcca.compression_report(net, half, judged_on[:32, :-1], evaluate=evaluate)
    study.say(str(report))
    return {
        "loss": -curve.accuracy,
        "without": -evaluate(silenced(net)),
        "lost": {way: [curve.accuracy - p.accuracy for p in curve.points if p.method == way] for way in WAYS},
        "shares": [report.share_of_parameters, report.share_of_flops, report.share_of_seconds],
        "layers": [asdict(layer) for layer in report.layers if ".mlp." in layer.name],
    }


def silenced(net: nn.Module) -> nn.Module:
    """Return a copy whose MLPs add nothing, which shows how much there is to lose."""
    net = copy.deepcopy(net)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("mlp.down_proj.weight"):
                parameter.zero_()
    return net


def judged(found: list[dict[str, Any]], counted: dict[str, float]) -> list[Finding]:
    """Judge what the network has learned, and what compressing its MLPs loses."""
    losses = np.array([each["loss"] for each in found])
    lost = {way: np.array([each["lost"][way] for each in found]) for way in WAYS}
    outputs, weights, logits = (lost[way] for way in list(WAYS)[:3])
    below = "nats a token of validation text, {} less the network's"
    return [
        judge(
            "The network has learned more than the frequencies of words.",
            below.format("those by the frequencies of words"),
            counted["words"] - losses,
            above=0.0,
        ),
        judge(
            "The network has learned more than which word follows which.",
            below.format("those by pairs of words"),
            counted["pairs of words"] - losses,
            above=0.0,
        ),
        judge(
            "MLPs of half their weights, by the layers' own outputs, lose next to nothing.",
            "nats a token lost at 0.5",
            outputs[:, HALF],
            below=ACCEPTED,
        ),
        judge(
            "So do MLPs of half their weights by CCA with the logits, the paper's way.",
            "nats a token lost at 0.5",
            logits[:, HALF],
            below=ACCEPTED,
        ),
        judge(
            "By the layers' own outputs no more is lost than by the SVD of the weights, at equal weights.",
            "nats a token lost by outputs, less those by weights, mean over the sizes",
            (outputs - weights).mean(axis=1),
            below=0.0,
        ),
    ]


def draw(found: list[dict[str, Any]], counted: dict[str, float]) -> Figure:
    """Draw the nats lost against the weights, and the directions that each layer keeps at half of them."""
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for way in WAYS:
        band(left, RATIOS, [each["lost"][way] for each in found], marker="o", markersize=4, label=way)
    whole = np.mean([each["loss"] for each in found])
    left.axhline(ACCEPTED, color="grey", linewidth=1, linestyle="--", label=f"{ACCEPTED} nats")
    left.set(xlabel="weights of the MLPs, after over before", ylabel="nats a token lost", xlim=(0.8, 0.1))
    left.set_yscale("symlog", linthresh=1e-3)  # what the best lose at half of the weights, beside what others lose
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    words, pairs = counted.values()
    left.set_title(f"loss {whole:.2f}; words {words:.2f}, pairs of words {pairs:.2f}", fontsize=10)
    left.set_ylim(bottom=-5e-4)
    left.legend(title="directions from", framealpha=1, edgecolor="none")
    _draw_ranks(right, found)
    tidy(left)
    return figure


def _draw_ranks(ax: Axes, found: list[dict[str, Any]]) -> None:
    layers = found[0]["layers"]
    kept = [
        [layer["inputs"] if layer["directions"] is None else layer["directions"] for layer in each["layers"]]
        for each in found
    ]
    names = [layer["name"].split(".")[2] + " " + layer["name"].split(".")[-1].removesuffix("_proj") for layer in layers]
    places = np.arange(len(layers))
    ax.barh(places, [layer["inputs"] for layer in layers], color="0.9", label="inputs")
    for number, each in enumerate(kept):  # a mean would hide that a layer is left whole with one seed and not another
        label = "kept at 0.5, by outputs; a seed each" if number == 0 else None
        ax.plot(each, places, "o", color="C0", markersize=4, alpha=0.7, label=label)
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set(xlabel="directions of the layer's inputs", ylabel="block and projection")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    tidy(ax)
