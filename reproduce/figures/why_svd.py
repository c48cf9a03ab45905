"""App. B: why SVCCA takes the SVD step: 50 shared directions among 150 of noise, or among 150 useful ones.

A has 50 directions of unit variance; B has these and 150 of noise; C has these and 150 others of unit variance that A
does not have. Each is turned into 200 units by a random rotation of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.study import Outcome, Settings, Study

Array = npt.NDArray[np.float64]
Values = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class WhySVD(Settings):
    """The sizes of the layers, and the noise of B."""

    n_samples: int = 10_000
    n_units: int = 200
    n_shared: int = 50
    noise: tuple[float, ...] = (0.003, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    judged_at: float = 0.1


SETTINGS = {
    "quick": WhySVD(n_samples=2000, noise=(0.01, 0.03, 0.1, 0.3, 1.0)),
    "cpu": WhySVD(seeds=5),
    "full": WhySVD(seeds=20),
}
ITEMS = (7,)
MEASURES = {
    "cca": "cca",
    "svcca": "svcca",
    "by_a": "svcca_weighted",
    "by_other": svcca.measures.WeightedSVCCA(side="y"),
}


def run(study: Study) -> Outcome:
    """Compare A with B and with C at each level of noise."""
    settings: WhySVD = study.settings
    found = [study.analysis("draw", study.config(seed=s), lambda s=s: compared(settings, s)) for s in study.seeds]
    layers = {
        layer: {key: np.array([draw[layer][key] for draw in found]) for key in (*MEASURES, "rank")} for layer in "BC"
    }
    at = settings.noise.index(settings.judged_at)
    return Outcome({"": draw(settings, layers)}, judged(layers, at, settings))


def made(settings: WhySVD, noise: float, seed: int) -> dict[str, Array]:
    """Draw A, B and C, each (n_samples, n_units); a seed draws the same A and C whatever the noise."""
    rng = np.random.default_rng(seed)
    n, k, units = settings.n_samples, settings.n_shared, settings.n_units
    shared, small, useful = (rng.normal(size=(n, width)) for width in (k, units - k, units - k))
    turns = [np.linalg.qr(rng.normal(size=(units, units)))[0] for _ in "ABC"]
    parts = (shared, np.hstack([shared, noise * small]), np.hstack([shared, useful]))
    return {name: part @ turn[: part.shape[1]] for name, part, turn in zip("ABC", parts, turns, strict=True)}


def compared(settings: WhySVD, seed: int) -> dict[str, dict[str, list[float]]]:
    """Compare A with B and C by all measures, and count what the SVD step keeps, at each level of noise."""
    found: dict[str, dict[str, list[float]]] = {layer: {key: [] for key in (*MEASURES, "rank")} for layer in "BC"}
    for noise in settings.noise:
        layers = made(settings, noise, seed)
        for layer in "BC":
            results = svcca.measures.similarities(layers["A"], layers[layer], list(MEASURES.values()))
            for key, result in zip(MEASURES, results.values(), strict=True):
                found[layer][key].append(result.similarity)
            found[layer]["rank"].append(results["svcca"].y_rank)
    return found


def judged(layers: dict[str, Values], at: int, settings: WhySVD) -> list[Finding]:
    """Judge whether each number distinguishes B from C at one level of noise."""
    b, c = ({key: values[:, at] for key, values in layers[layer].items()} for layer in "BC")
    n_others = settings.n_units - settings.n_shared
    where = f"noise of std {settings.judged_at:g}"
    return [
        judge(
            "Plain CCA cannot tell 150 directions of noise from 150 useful ones.",
            f"mean correlation of A with B less that of A with C, absolute, {where}",
            np.abs(b["cca"] - c["cca"]),
            below=0.01,
            limits=(0, 1),
        ),
        judge(
            "With the SVD step the mean correlation tells them apart.",
            f"SVCCA similarity of A and B less that of A and C, {where}",
            b["svcca"] - c["svcca"],
            above=0.1,
            limits=(-1, 1),
        ),
        judge(
            "With the SVD step the kept ranks tell them apart.",
            f"directions kept of C less those of B, as a share of the {n_others} that differ, {where}",
            (c["rank"] - b["rank"]) / n_others,
            above=0.1,
            limits=(-1, 1),
        ),
        judge(
            "The SVD step leaves of B what is shared, and no noise.",
            f"directions kept of B over the {settings.n_shared} that are shared, {where}",
            b["rank"] / settings.n_shared,
            below=1.1,
            limits=(0, settings.n_units / settings.n_shared),
        ),
        judge(
            "The weighted form tells them apart (weighted by B and C, not by A).",
            f"weighted SVCCA of A and B less that of A and C, {where}",
            b["by_other"] - c["by_other"],
            above=0.1,
            limits=(-1, 1),
        ),
    ]


def draw(settings: WhySVD, layers: dict[str, Values]) -> Figure:
    """Draw mean correlations, kept ranks, and both weighted forms against the noise."""
    figure = new_figure(9, 3.9)
    axes = figure.subplots(1, 3)
    names = {"B": "A and B (noise)", "C": "A and C (useful)"}
    for colour, (layer, name) in zip(("C0", "C1"), names.items(), strict=True):
        values = layers[layer]
        band(axes[0], settings.noise, values["cca"], color=colour, linestyle="--", label=f"{name}: CCA")
        band(axes[0], settings.noise, values["svcca"], color=colour, marker="o", label=f"{name}: SVCCA")
        band(axes[1], settings.noise, values["rank"], color=colour, marker="o", label=f"kept of {layer}")
        band(axes[2], settings.noise, values["by_other"], color=colour, marker="o", label=f"{name}: by {layer}")
        band(axes[2], settings.noise, values["by_a"], color=colour, linestyle="--", label=f"{name}: by A")
    axes[1].axhline(settings.n_shared, color="0.5", linewidth=1, linestyle=":", label="shared with A")
    axes[0].set(ylabel="mean correlation (from 0.95)", ylim=(0.95, 1.003))
    axes[1].set(ylabel="directions kept by the SVD step", ylim=(0, settings.n_units * 1.05))
    axes[2].set(ylabel="weighted SVCCA similarity", ylim=(0, 1.05))
    for ax in axes:
        _finish(ax, settings.judged_at)
    return figure


def _finish(ax: Axes, judged_at: float) -> None:
    ax.axvline(judged_at, color="0.85", linewidth=4, zorder=0)
    ax.set(xscale="log", xlabel="standard deviation of the noise in B")
    ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    tidy(ax)
