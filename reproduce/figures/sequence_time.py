"""Morcos et al., Figures 7 and 8: the hidden state at each step of a sequence against the last one.

A sample is a sequence, a feature is a unit; all sequences have the same length. Linear recurrent nets, h' = W h, start
from random states and get no further input, or a random one at each step; W is a random matrix, orthogonal or not. The
LSTMs are language models that read text on which they were not trained, from a state of zero on; beside each stands the
same net before training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.language import windows
from reproduce.lstm import LANGUAGE, LanguageModels
from reproduce.study import Outcome, Settings, Study


@dataclass(frozen=True, kw_only=True)
class SequenceTime(Settings):
    """The LSTMs, the number of sequences, and the size of the linear nets, which run as many steps as the LSTMs."""

    models: LanguageModels
    depth: int = 3
    n_sequences: int = 5000
    linear_width: int = 100
    n_linear: int = 2000


SETTINGS = {
    "quick": SequenceTime(seeds=2, models=LANGUAGE["quick"], depth=2, n_sequences=400, linear_width=50, n_linear=800),
    "cpu": SequenceTime(models=LANGUAGE["cpu"]),
    "full": SequenceTime(seeds=5, models=LANGUAGE["full"], n_sequences=6000, linear_width=200, n_linear=10_000),
}
ITEMS = (22,)
MEASURES = {"cca": "CCA", "svcca": "SVCCA", "pwcca": "PWCCA", "linear_cka": "linear CKA", "cosine": "cosine"}
SPREAD = 0.5
"""Singular values of the matrix that is not orthogonal: evenly from 1 - SPREAD to 1 + SPREAD."""
LINEAR = {
    "orthogonal": "orthogonal, no input",
    "invertible": "not orthogonal, no input",
    "driven": "orthogonal, new input at each step",
}
Curves = dict[str, list[float]]


def run(study: Study) -> Outcome:
    """Follow linear nets and LSTMs over the steps of sequences."""
    found = [analysed(study, seed) for seed in study.seeds]
    findings = linear_verdicts(found) + lstm_verdicts(found)
    return Outcome({"": draw(found)}, findings)


def analysed(study: Study, seed: int) -> dict[str, Any]:
    """Return the curves of one seed by measure: of linear nets, and of each LSTM layer before and after training."""
    settings: SequenceTime = study.settings
    text = settings.models.text(study)
    trained = settings.models.train(study, text, settings.depth, seed)
    length = settings.models.length
    words = windows(text.valid, length)[: settings.n_sequences, :-1].to(study.device)

    def followed() -> dict[str, Any]:
        plain: dict[str, Any] = {
            kind: against_last(linear_states(kind, settings.linear_width, settings.n_linear, length, seed))
            for kind in LINEAR
        }
        for name, step in (("untrained", 0), ("trained", trained.steps[-1])):
            rows = svcca.activations(trained.net(step), words, layers="lstm*", observe="flatten")
            plain[name] = [against_last(split(np.asarray(layer), length)) for layer in rows.values()]
        return plain

    return study.analysis("seed", study.config(data=text.config, seed=seed), followed)  # type: ignore[no-any-return]


def linear_states(kind: str, width: int, n: int, length: int, seed: int) -> list[np.ndarray[Any, Any]]:
    """Return the states (n, width) of a linear recurrent net at each of `length` steps.

    Args:
        kind: "orthogonal", "invertible" (not orthogonal) or "driven" (orthogonal, with input).
        width: The number of units.
        n: The number of sequences.
        length: The number of steps; the first state is random.
        seed: The seed of the matrix, the first state and the input.
    """
    rng = np.random.default_rng(seed)
    matrix = stats.ortho_group.rvs(width, random_state=rng)
    if kind == "invertible":
        matrix = (matrix * np.linspace(1 - SPREAD, 1 + SPREAD, width)) @ stats.ortho_group.rvs(width, random_state=rng)
    states = [rng.normal(size=(n, width))]
    for _ in range(length - 1):
        states.append(states[-1] @ matrix.T + (rng.normal(size=(n, width)) if kind == "driven" else 0))
    return states


def split(rows: np.ndarray[Any, Any], length: int) -> list[np.ndarray[Any, Any]]:
    """Cut flattened sequences (n, length * width) into the states (n, width) of each step."""
    return list(np.moveaxis(rows.reshape(len(rows), length, -1), 1, 0))


def against_last(states: Sequence[np.ndarray[Any, Any]]) -> Curves:
    """Return the similarity of the state at each step to the last one, by measure, and the chance level of CCA."""
    curves: Curves = {measure: [] for measure in MEASURES}
    last = states[-1]
    for state in states:
        found = svcca.measures.similarities(state, last, [name for name in MEASURES if name != "cosine"])
        for name, result in found.items():
            curves[name].append(result.similarity)
        curves["cosine"].append(cosine(state, last))
    return curves | {"chance": [found["cca"].chance]}


def cosine(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    """Return the mean over samples of the cosine of the angle between two states."""
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return float(np.mean((x * y).sum(axis=1) / norms))


def stacked(found: list[dict[str, Any]], net: str, measure: str) -> np.ndarray[Any, Any]:
    """Gather the curves of an LSTM (n_seeds, n_layers, n_steps), as shares beyond chance."""
    values = np.array([[layer[measure] for layer in one[net]] for one in found])
    chance = np.array([[layer["chance"] for layer in one[net]] for one in found])
    return (values - chance) / (1 - chance)


def linear_verdicts(found: list[dict[str, Any]]) -> list[Finding]:
    """Judge that all steps of a linear net are one representation, and that other measures miss it."""
    by_kind = {kind: {m: np.array([one[kind][m] for one in found])[:, :-1] for m in MEASURES} for kind in LINEAR}
    return [
        judge(
            "In a linear net with an orthogonal recurrent matrix and no further input all steps are equivalent.",
            "least CCA similarity of any step with the last",
            by_kind["orthogonal"]["cca"].min(axis=1),
            above=0.999,
            limits=(0, 1),
        ),
        judge(
            "The cosine of the states does not show it.",
            "size of the mean cosine of a step's states with the last ones, mean over steps",
            np.abs(by_kind["orthogonal"]["cosine"]).mean(axis=1),
            below=0.1,
            limits=(0, 1),
        ),
        judge(
            "A recurrent matrix need not be orthogonal for that: any invertible one gives equivalent steps.",
            "least CCA similarity of any step with the last",
            by_kind["invertible"]["cca"].min(axis=1),
            above=0.999,
            limits=(0, 1),
        ),
    ]


def lstm_verdicts(found: list[dict[str, Any]]) -> list[Finding]:
    """Judge that the states of an LSTM become similar to the last one late."""
    trained, untrained = stacked(found, "trained", "pwcca"), stacked(found, "untrained", "pwcca")
    return [
        judge(
            "Half-way through a sequence the state of a trained LSTM is unlike the last one, also up to linear maps.",
            "PWCCA similarity of the middle step with the last as a share beyond chance, in the layer where it is most",
            middle(trained).max(axis=1),
            below=0.5,
            limits=(-1, 1),
        ),
        judge(
            "The state of a trained LSTM becomes similar to the last one late.",
            "share beyond chance at the step before the last, less that at the middle, in the layer where it is least",
            (trained[:, :, -2] - middle(trained)).min(axis=1),
            above=0.2,
            limits=(-2, 2),
        ),
        judge(
            "Control: training makes it so, the same net before training is more alike at the middle and the end.",
            "share beyond chance at the middle, before less after training, mean over layers",
            (middle(untrained) - middle(trained)).mean(axis=1),
            above=0.0,
            limits=(-2, 2),
        ),
    ]


def middle(curves: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the value of curves (..., n_steps) at the middle step."""
    return curves[..., curves.shape[-1] // 2]


def draw(found: list[dict[str, Any]]) -> Figure:
    """Draw linear nets, the layers of the LSTM, and all measures on its top layer."""
    figure = new_figure(9, 4.8)
    left, centre, right = figure.subplots(1, 3, sharey=True)
    for kind, colour in zip(LINEAR, ("C0", "C2", "C1"), strict=True):
        for measure, style in (("cca", "-"), ("linear_cka", "--")):
            label = LINEAR[kind] if measure == "cca" else None
            # Two of the lines lie at 1, one on the other: the wider one shows below.
            width = 4 if kind == "orthogonal" else 1.5
            curves = [one[kind][measure] for one in found]
            line(left, curves, color=colour, linestyle=style, label=label, linewidth=width)
    left.plot([], [], color="0.3", linestyle="--", label="the same, linear CKA")
    line(left, [one["orthogonal"]["cosine"] for one in found], color="C0", linestyle=":", label="orthogonal, cosine")
    left.set(ylabel="similarity with the last step", title="linear nets, CCA")
    for number in range(len(found[0]["trained"])):
        for net, style in (("trained", "-"), ("untrained", "--")):
            label = f"LSTM {number + 1}" if net == "trained" else None
            line(centre, [o[net][number]["pwcca"] for o in found], color=f"C{number}", linestyle=style, label=label)
    centre.plot([], [], color="0.3", linestyle="--", label="the same, untrained")
    centre.set(title="LSTM, PWCCA")
    for place, (measure, label) in enumerate(MEASURES.items()):
        line(right, [one["trained"][-1][measure] for one in found], color=f"C{place}", label=label)
    right.set(title="trained LSTM, top layer")
    chance = max(one["trained"][-1]["chance"][0] for one in found)
    for ax in (centre, right):
        ax.axhline(chance, color="0.6", linewidth=1, linestyle=":", label="chance of CCA")
    for ax in (left, centre, right):
        ax.set(xlabel="step of the sequence", ylim=(-0.15, 1.03))
        ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2 - (ax is left))
        tidy(ax)
    return figure


def line(ax: Axes, curves: list[list[float]], **style: Any) -> None:
    """Draw the mean over seeds of a curve over steps, which are counted from 1."""
    band(ax, np.arange(1, len(curves[0]) + 1), curves, **{"linewidth": 1.5} | style)
