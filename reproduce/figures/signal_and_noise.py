"""Morcos et al., Figure 2: which measure tells directions that two layers share from noise.

Two layers of 200 directions share k of them, drawn from N(0, 1); the other 200 - k are drawn from N(0, std 0.1) for
each layer by itself. Each layer is turned into 200 units by a random rotation of its own. The same with k directions of
N(0, 1) that are *not* shared shows each measure's value when nothing is shared; the excess over it is its contrast.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.study import Outcome, Settings, Study

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SignalAndNoise(Settings):
    """The sizes of the layers, the numbers of shared directions, and the strength of the noise."""

    n_samples: int = 2000
    n_units: int = 200
    n_shared: tuple[int, ...] = (20, 40, 60, 80, 100, 120, 140, 160, 180, 199)
    noise: tuple[float, ...] = (0.1, 0.316)
    """Standard deviations: the first is judged. The paper's N(0, 0.1) may mean a variance: the second."""


SETTINGS = {
    "quick": SignalAndNoise(seeds=2, n_shared=(20, 100, 199)),
    "cpu": SignalAndNoise(seeds=5),
    "full": SignalAndNoise(seeds=20),
}
ITEMS = (17,)
MEASURES = {"pwcca": "PWCCA", "svcca_weighted": "weighted SVCCA", "svcca": "SVCCA", "cca": "mean CCA"}


def run(study: Study) -> Outcome:
    """Measure layers that share k directions and layers that share none, for each k and noise."""
    settings: SignalAndNoise = study.settings
    found = [study.analysis("draw", study.config(seed=s), lambda s=s: measured(settings, s)) for s in study.seeds]
    # (seed, noise, shared or not, k) for each measure
    values = {name: np.array([draw[name] for draw in found]) for name in MEASURES}
    contrasts = {name: contrast(value[:, 0]) for name, value in values.items()}
    return Outcome({"": draw(settings, values)}, judged(contrasts))


def layers(settings: SignalAndNoise, k: int, noise: float, shared: bool, rng: np.random.Generator) -> list[Array]:
    """Draw two layers (n_samples, n_units) with k directions of N(0, 1) each, shared or not."""
    n, units = settings.n_samples, settings.n_units
    common = rng.normal(size=(n, k))
    drawn = []
    for _ in range(2):
        signal = common if shared else rng.normal(size=(n, k))
        parts = np.hstack([signal, noise * rng.normal(size=(n, units - k))])
        drawn.append(parts @ np.linalg.qr(rng.normal(size=(units, units)))[0])
    return drawn


def measured(settings: SignalAndNoise, seed: int) -> dict[str, Any]:
    """Return each measure (noise, shared or not, k)."""
    shape = (len(settings.noise), 2, len(settings.n_shared))
    values = {name: np.empty(shape) for name in MEASURES}
    rng = np.random.default_rng(seed)
    for place in np.ndindex(shape):
        noise, k = settings.noise[place[0]], settings.n_shared[place[2]]
        with warnings.catch_warnings():
            # Each says that unrelated layers would give much: that level is measured here, and drawn.
            warnings.simplefilter("ignore", svcca.SvccaWarning)
            results = svcca.measures.similarities(*layers(settings, k, noise, place[1] == 0, rng), list(MEASURES))
        for name, result in results.items():
            values[name][place] = result.similarity
    return {name: value.tolist() for name, value in values.items()}


def contrast(values: Array) -> Array:
    """Return a measure's value for k shared directions less its value for none, mean over k; one number per seed.

    Args:
        values: The values of one measure, (seed, shared or not, k).
    """
    return (values[:, 0] - values[:, 1]).mean(axis=1)


def judged(contrasts: dict[str, Array]) -> list[Finding]:
    """Judge the order of the measures."""

    def ahead(claim: str, first: str, second: str) -> Finding:
        statistic = f"contrast of {MEASURES[first]} less that of {MEASURES[second]}, mean over k, noise of std 0.1"
        return judge(claim, statistic, contrasts[first] - contrasts[second], above=0.0, limits=(-2, 2))

    return [
        ahead("PWCCA tells signal from noise better than SVCCA.", "pwcca", "svcca"),
        ahead("SVCCA tells signal from noise better than mean CCA.", "svcca", "cca"),
        ahead("So does SVCCA's weighted form, of the first paper's first version.", "svcca_weighted", "svcca"),
    ]


def draw(settings: SignalAndNoise, values: dict[str, Array]) -> Figure:
    """Draw each measure against k, with its level for layers that share nothing, a panel for each noise."""
    figure = new_figure(9, 4)
    axes = figure.subplots(1, len(settings.noise), sharey=True)
    for place, (ax, noise) in enumerate(zip(axes, settings.noise, strict=True)):
        for number, (name, label) in enumerate(MEASURES.items()):
            style = {"color": f"C{number}", "marker": "osD^"[number], "markersize": 4}
            band(ax, settings.n_shared, values[name][:, place, 0], label=label, **style)
            band(ax, settings.n_shared, values[name][:, place, 1], linestyle=":", linewidth=1, color=f"C{number}")
        title = f"noise of std {noise:g}" + (" (judged)" if not place else " (variance 0.1)")
        ax.set(xlabel=f"directions of N(0, 1) among {settings.n_units}", title=title, ylim=(0, 1.02))
        tidy(ax)
    axes[0].set_ylabel("similarity (dotted: nothing is shared)")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=len(MEASURES))
    return figure
