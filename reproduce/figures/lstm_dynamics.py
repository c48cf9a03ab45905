"""App. Figure 6, and Morcos et al., Figure 6: stacked LSTM language models through training.

Each layer is compared with itself at the end of training. A sample is a word of a window of text, a feature is a unit;
every layer starts each window from a state of zero, in training too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import svcca
from reproduce.claims import Finding, judge
from reproduce.data.text import Text
from reproduce.drawing import band, new_figure, tidy
from reproduce.language import unigram_loss, windows
from reproduce.lstm import LANGUAGE, LanguageModels
from reproduce.study import Outcome, Settings, Study


@dataclass(frozen=True, kw_only=True)
class LSTMDynamics(Settings):
    """The nets, their numbers of LSTM layers, and the number of windows of validation text for the comparison."""

    models: LanguageModels
    depths: tuple[int, ...] = (3, 5)
    n_windows: int = 200


SETTINGS = {
    "quick": LSTMDynamics(seeds=2, models=LANGUAGE["quick"], depths=(2, 3), n_windows=100),
    "cpu": LSTMDynamics(models=LANGUAGE["cpu"]),
    "full": LSTMDynamics(seeds=5, models=LANGUAGE["full"], n_windows=400),
}
ITEMS = (15, 21)
MEASURES = {"svcca": "SVCCA", "pwcca": "PWCCA"}
LEARNED = 0.8
"""Largest perplexity, as a share of that of word frequencies, of a net that has learned something about order."""


def run(study: Study) -> Outcome:
    """Train nets of each depth, compare their layers with themselves at the end, and judge the order of depths."""
    settings: LSTMDynamics = study.settings
    text = settings.models.text(study)
    found = {depth: [analysed(study, text, depth, seed) for seed in study.seeds] for depth in settings.depths}
    unigram = math.exp(unigram_loss(text))
    findings = []
    for depth, parts in found.items():
        perplexities = np.array([part["perplexity"] for part in parts])
        findings.append(
            judge(
                f"Precondition: the nets of {depth} LSTM layers learn more than how frequent words are.",
                "perplexity on validation text, divided by that of the words' frequencies",
                perplexities / unigram,
                below=LEARNED,
                limits=(0, np.inf),
            )
        )
        findings += [
            finding
            for measure, label in MEASURES.items()
            for finding in verdicts(np.array([part[measure] for part in parts]), depth, label)
        ]
    return Outcome({"": draw(found, settings.models.training.epochs, unigram)}, findings)


def analysed(study: Study, text: Text, depth: int, seed: int) -> dict[str, Any]:
    """Return curves (n_steps, 1 + depth) of one net by measure, embedding first, with chance levels and perplexity."""
    settings: LSTMDynamics = study.settings
    trained = settings.models.train(study, text, depth, seed)
    probe = windows(text.valid, settings.models.length)[: settings.n_windows, :-1].to(study.device)

    def compared() -> dict[str, Any]:
        plain: dict[str, Any] = {"perplexity": trained.facts["perplexity"]}
        for measure in MEASURES:
            dynamics = svcca.learning_dynamics(
                trained.net(),
                [trained.states[step] for step in trained.steps],
                probe,
                layers=["embedding", "lstm*"],
                measure=measure,
                observe="tokens",
                steps=trained.steps,
                progress=False,
            )
            chance = dynamics.chance.diagonal(axis1=1, axis2=2)
            plain |= {measure: dynamics.curves.tolist(), f"{measure} chance": float(chance.max())}
            plain |= {"steps": trained.steps}
            if measure == "svcca":
                plain |= {"ranks": dynamics.ranks.tolist()}
        return plain

    return study.analysis("layers", study.config(data=text.config, depth=depth, seed=seed), compared)  # type: ignore[no-any-return]


def verdicts(curves: np.ndarray[Any, Any], depth: int, label: str) -> list[Finding]:
    """Judge bottom-up from curves (n_seeds, n_steps, 1 + depth): as it is drawn, and from where each layer starts."""
    layers = curves[:, :, 1:]
    what = f"of {depth} LSTM layers ({label})"
    return [
        judge(
            f"Lower layers are nearer to their final selves through training, in nets {what}.",
            f"fall a layer of the mean {label} similarity to the final self over training, by least squares",
            [fall(averages(one)) for one in layers],
            above=0.0,
            limits=(-1, 1),
        ),
        judge(
            f"Lower layers go from their first to their final selves earlier, in nets {what}.",
            f"fall a layer of the mean progress, the {label} similarity as a share of the way from its start to 1",
            [fall(averages(progress(one))) for one in layers],
            above=0.0,
        ),
    ]


def averages(curves: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return each layer's mean over training, from curves (n_steps, n_layers), without the last step, which is 1."""
    return curves[:-1].mean(axis=0)


def progress(curves: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Turn similarities (n_steps, n_layers) into the share of the way from the first step to 1 that is done."""
    return (curves - curves[0]) / (1 - curves[0])


def fall(values: np.ndarray[Any, Any]) -> float:
    """Return how much values fall from one layer to the next, by least squares over all layers."""
    return -float(np.polyfit(np.arange(len(values)), values, 1)[0])


def draw(found: dict[int, list[dict[str, Any]]], epochs: int, unigram: float) -> Figure:
    """Draw one row per measure, one for the ranks, and one column per depth: one line per layer, mean over seeds."""
    figure = new_figure(9, 5.6)
    axes = figure.subplots(1 + len(MEASURES), len(found), sharex=True, sharey="row", squeeze=False)
    for place, (depth, parts) in enumerate(found.items()):
        column = axes[:, place]
        for ax, measure in zip(column, MEASURES, strict=False):
            lines(ax, parts, measure, epochs)
            chance = max(part[f"{measure} chance"] for part in parts)
            ax.axhline(chance, color="0.6", linewidth=1, linestyle=":", label="chance")
            ax.set(ylim=(0, 1.02))
        lines(column[-1], parts, "ranks", epochs)
        column[-1].set(ylim=(0, None), xlabel="epoch")
        perplexity = np.mean([part["perplexity"] for part in parts])
        title = f"{depth} LSTM layers: perplexity {perplexity:.0f} (word frequencies: {unigram:.0f})"
        column[0].set_title(title, fontsize=9)
    for ax, label in zip(axes[:, 0], MEASURES.values(), strict=False):
        ax.set_ylabel(f"{label} similarity\nto the final self")
    axes[-1, 0].set_ylabel("directions that hold\n99% of the variance")
    handles, names = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, names, frameon=False, fontsize=8, loc="outside lower center", ncols=len(names))
    return figure


def lines(ax: Axes, parts: list[dict[str, Any]], what: str, epochs: int) -> None:
    """Draw one line per layer over epochs."""
    curves = np.array([part[what] for part in parts])
    x = epochs * np.array(parts[0]["steps"]) / parts[0]["steps"][-1]
    names = ["embedding", *(f"LSTM {number}" for number in range(1, curves.shape[2]))]
    for place, name in enumerate(names):
        style = {"color": "0.5", "linestyle": "--"} if place == 0 else {"color": f"C{place - 1}"}
        band(ax, x, curves[:, :, place], label=name, linewidth=1.5, **style)
    tidy(ax)
