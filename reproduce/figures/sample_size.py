"""Tutorial: how many samples: similarity of pure noise, and of two trained layers, against the number of samples.

Noise: two unrelated layers of N(0, 1). Trained: a layer of two nets of unlike seeds, on random subsets of images; the
same layers with one's rows shuffled are a control, and so is the same pair before training.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SampleSize(Settings):
    """The width of the noise, the nets and their layer, and the numbers of samples."""

    n_units: int = 100
    n_samples: tuple[int, ...] = (50, 100, 150, 200, 250, 300, 500, 700, 1000, 2000, 5000, 10_000)
    n_noises: int = 10
    """Pairs of layers of noise; they cost little, so that there are more than pairs of nets."""
    layer: str = "fc1"
    n_images: tuple[int, ...] = (100, 200, 300, 500, 700, 1000, 1280, 2000, 3000, 5000, 10_000)
    """The last are all there are; one of the others must be ten times the layer's width."""
    n_draws: int = 5
    """Random subsets of images for each number."""
    nets: SharedNets


SETTINGS = {
    "quick": SampleSize(
        n_samples=(50, 100, 200, 300, 1000, 2000),
        seeds=2,
        layer="fc2",
        n_images=(20, 40, 80, 160, 320, 597),
        n_draws=2,
        nets=SHARED["quick"],
    ),
    "cpu": SampleSize(nets=SHARED["cpu"]),
    "full": SampleSize(
        seeds=5, n_images=(500, 800, 1000, 1500, 2000, 3000, 5120, 7000, 10_000), n_draws=10, nets=SHARED["full"]
    ),
}
ITEMS = (23,)
MEASURES = {"cca": "mean CCA", "pwcca": "PWCCA", "svcca": "SVCCA"}
PER_UNIT = 10
"""Samples for each unit that the tutorial calls enough: "5 to 10 times more samples than neurons"."""
SMALL = 0.1
"""Below this the similarity of noise could be called small."""
SETTLED = 0.05
"""The distance from its value on all images within which a similarity is called settled."""


def run(study: Study) -> Outcome:
    """Measure noise and pairs of trained layers over growing numbers of samples."""
    settings: SampleSize = study.settings
    noises = range(settings.n_noises)
    noise = [study.analysis("noise", study.config(seed=s), lambda s=s: of_noise(settings, s)) for s in noises]
    images = settings.nets.images(study)
    trained = [settings.nets.train_conv(study, images, seed) for seed in range(settings.seeds + 1)]
    inputs = images.test[: settings.n_images[-1]]

    def pair(seed: int) -> dict[str, Any]:
        def rows(step: int | None) -> list[Array]:
            nets = [trained[number].net(step) for number in (seed, seed + 1)]
            return [svcca.activations(net, inputs, layers=settings.layer)[settings.layer].numpy() for net in nets]

        after = rows(None)
        rng = np.random.default_rng(seed)
        shuffled = [after[0], after[1][rng.permutation(len(after[1]))]]
        cases = {"trained": after, "shuffled": shuffled, "untrained": rows(0)}
        found = {name: over_sizes(*case, settings.n_images, settings.n_draws, rng) for name, case in cases.items()}
        return found | {"n_units": after[0].shape[1]}

    config = study.config(data=images.config)
    pairs = [study.analysis("pair", config | {"seed": s}, lambda s=s: pair(s)) for s in study.seeds]
    stacked = {name: stack([pair[name] for pair in pairs]) for name in ("trained", "shuffled", "untrained")}
    n_units = int(pairs[0]["n_units"])
    findings = judged(settings, stack(noise), stacked["trained"], n_units)
    return Outcome({"": draw(settings, stack(noise), stacked, n_units)}, findings)


def of_noise(settings: SampleSize, seed: int) -> dict[str, list[float]]:
    """Measure two unrelated layers at each number of samples, with the library's chance level of mean CCA."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in (*MEASURES, "chance")}
    for n in settings.n_samples:
        measured(rng.normal(size=(n, settings.n_units)), rng.normal(size=(n, settings.n_units)), found)
    return found


def over_sizes(x: Array, y: Array, sizes: Sequence[int], n_draws: int, rng: np.random.Generator) -> dict[str, Any]:
    """Measure two layers over random subsets of their rows: the mean over draws of each measure, at each size."""
    found: dict[str, list[float]] = {name: [] for name in (*MEASURES, "chance")}
    for n in sizes:
        draws: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(n_draws if n < len(x) else 1):
            chosen = rng.choice(len(x), size=n, replace=False)
            measured(x[chosen], y[chosen], draws)
        for name, values in draws.items():
            found[name].append(float(np.mean(values)))
    return found


def measured(x: Array, y: Array, found: dict[str, list[float]]) -> None:
    """Add all measures of two layers, and the chance level of mean CCA, to lists."""
    with warnings.catch_warnings():
        # Each says that there are too few samples: what happens then is what is measured here.
        warnings.simplefilter("ignore", svcca.SvccaWarning)
        results = svcca.measures.similarities(x, y, list(MEASURES))
    for name, result in results.items():
        found[name].append(result.similarity)
    found["chance"].append(results["cca"].chance)


def stack(found: list[dict[str, Any]]) -> dict[str, Array]:
    """Return arrays (seed, size) for each measure."""
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def worst_miss(values: Array, predicted: Array) -> Array:
    """Return the largest distance from the prediction, over sizes; one number per seed."""
    return np.abs(values - predicted).max(axis=1)


def unsettled(values: Array, sizes: Sequence[int], size: int) -> Array:
    """Return how far values at one size are from those at the last; one number per seed."""
    return np.abs(values[:, list(sizes).index(size)] - values[:, -1])


def judged(settings: SampleSize, noise: dict[str, Array], trained: dict[str, Array], n_units: int) -> list[Finding]:
    """Judge the claims on noise and on trained layers."""
    width, sizes = settings.n_units, np.array(settings.n_samples)
    enough = list(sizes).index(PER_UNIT * width)
    unit = (0.0, 1.0)
    return [
        judge(
            "With no more samples than neurons, noise is perfectly similar: its mean correlation is 1.",
            f"smallest mean correlation of noise ({width} units) at n up to {width}",
            noise["cca"][:, sizes <= width].min(axis=1),
            above=1 - 1e-9,
            limits=unit,
        ),
        judge(
            f"{PER_UNIT} times more samples than neurons are enough: noise is then hardly similar.",
            f"mean correlation of noise at n = {PER_UNIT * width}",
            noise["cca"][:, enough],
            below=SMALL,
            limits=unit,
        ),
        judge(
            "The chance level (Wachter's law, corrected) says what noise will give, at every n.",
            "largest distance of the mean correlation of noise from the chance level, over all n",
            worst_miss(noise["cca"], noise["chance"]),
            below=0.01,
            limits=unit,
        ),
        *(
            judge(
                f"{PER_UNIT} times more samples than neurons are enough for two trained layers: {label} has settled.",
                f"{label} at n = {PER_UNIT * n_units} less that at n = {settings.n_images[-1]}, absolute",
                unsettled(trained[name], settings.n_images, PER_UNIT * n_units),
                below=SETTLED,
                limits=unit,
            )
            for name, label in MEASURES.items()
        ),
    ]


def draw(settings: SampleSize, noise: dict[str, Array], pairs: dict[str, dict[str, Array]], n_units: int) -> Figure:
    """Draw noise and trained layers against n, with the chance level and the controls."""
    figure = new_figure(9, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    for number, (name, label) in enumerate(MEASURES.items()):
        style = {"color": f"C{number}", "marker": "osD"[number], "markersize": 4}
        band(left, settings.n_samples, noise[name], label=label, **style)
        band(right, settings.n_images, pairs["trained"][name], label=f"{label}", **style)
    left.plot(settings.n_samples, noise["chance"].mean(axis=0), color="k", linestyle="--", label="chance level of CCA")
    band(right, settings.n_images, pairs["untrained"]["svcca"], color="C2", linestyle="-.", label="SVCCA, untrained")
    right.plot(settings.n_images, pairs["trained"]["chance"].mean(axis=0), color="k", linestyle="--")
    shuffled = pairs["shuffled"]["cca"].mean(axis=0)
    right.plot(settings.n_images, shuffled, "x", color="C0", label="mean CCA, rows shuffled")
    _finish(left, settings.n_units, f"noise, {settings.n_units} and {settings.n_units} units")
    _finish(right, n_units, f"{settings.layer} of two nets, {n_units} units each")
    left.set_ylabel("similarity")
    handles, labels = left.get_legend_handles_labels()
    more, names = right.get_legend_handles_labels()
    extra = slice(len(MEASURES), None)
    figure.legend(handles + more[extra], labels + names[extra], frameon=False, loc="outside lower center", ncols=3)
    return figure


def _finish(ax: Axes, n_units: int, title: str) -> None:
    for times in (1, 2, PER_UNIT):
        ax.axvline(times * n_units, color="0.85", linewidth=1, zorder=0)
        ax.annotate(f"{times}p", (times * n_units, 1.03), fontsize=8, color="0.4", ha="center", annotation_clip=False)
    ax.set(xscale="log", xlabel="samples n", ylim=(0, 1.02))
    ax.xaxis.set_minor_formatter(NullFormatter())  # labels of a short axis would run into each other
    ax.set_title(title, fontsize=10, pad=14)
    tidy(ax)
