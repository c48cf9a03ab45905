"""Morcos et al., Figure 5: nets over many learning rates converge to clusters of solutions.

Nets that differ in first weights and in learning rate. PWCCA distances between all of them in a late layer are
clustered, and compared with nets of a single learning rate and with one cloud of points that is as long in each
direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduce.between_nets import distances
from reproduce.claims import judge
from reproduce.clusters import LEAST, best_clusters, cloud_silhouettes, ordered, share_explained
from reproduce.drawing import new_figure, tidy
from reproduce.errors import ReproduceError, message
from reproduce.nets import Net
from reproduce.study import Outcome, Settings, Study, Trained
from reproduce.training import Training

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class LearningRates(Settings):
    """The nets, and how they are trained.

    Attributes:
        seeds: Sets of nets; each has one net of every learning rate, and its twin one of the middle rate each time.
        rates: The lowest and the highest learning rate.
        n_rates: The number of learning rates, equal factors apart.
        n_null: The number of clouds of points that a set is compared with.
    """

    n_train: int
    rates: tuple[float, float]
    n_rates: int
    n_null: int
    net: Net
    training: Training


SETTINGS = {
    "quick": LearningRates(
        seeds=2,
        n_train=400,
        rates=(5e-3, 5e-2),
        n_rates=6,
        n_null=20,
        net=Net(width=6),
        training=Training(epochs=5, batch=50),
    ),
    "cpu": LearningRates(
        n_train=1500,
        rates=(5e-4, 5e-2),
        n_rates=14,
        n_null=200,
        net=Net(width=8),
        training=Training(epochs=12, batch=50),
    ),
    "full": LearningRates(
        seeds=5,
        n_train=50_000,
        rates=(1e-4, 1e-2),
        n_rates=40,
        n_null=1000,
        net=Net(width=64),
        training=Training(epochs=50, translate=4),
    ),
}
ITEMS = (20,)
LAYER = "relu6"
N_COMPARED = 10_000
APART = 1000
"""Added to the seeds of nets of the middle rate, so that no two nets start from the same weights."""


def run(study: Study) -> Outcome:
    """Train a net for every rate and seed, and as many of the middle rate; cluster each set separately."""
    settings: LearningRates = study.settings
    images = study.images(settings.n_train, settings.n_train)
    rates = np.geomspace(*settings.rates, settings.n_rates)
    middle = float(np.sqrt(rates[0] * rates[-1]))

    def trained(rate: float, seed: int) -> Trained:
        return study.train_net(settings.net, replace(settings.training, learning_rate=rate), images, seed)

    def compared(nets: Sequence[Trained], part: str) -> Array:
        config = study.config(data=images.config, n_nets=len(nets), seeds=settings.seeds)
        inputs = images.train[:N_COMPARED]
        found = study.analysis(part, config, lambda: distances([net.net() for net in nets], inputs, [LAYER]))
        return np.array(found[LAYER]["distance"])

    each = [(float(rate), seed) for seed in study.seeds for rate in rates]
    many = [(rate, seed, trained(rate, place)) for place, (rate, seed) in enumerate(each)]
    single = [(middle, seed, trained(middle, APART + place)) for place, (_, seed) in enumerate(each)]
    n_made = len(many)
    many, single = ([entry for entry in nets if learned(entry[2])] for nets in (many, single))
    matrix, control = compared([net for *_, net in many], "rates"), compared([net for *_, net in single], "one-rate")
    sets = [_set(matrix, many, seed) for seed in study.seeds]
    twins = [_set(control, single, seed) for seed in study.seeds]
    best = [best_clusters(distance) for distance, _ in sets]
    silhouettes = {
        "many rates": [silhouette for silhouette, _ in best],
        "one rate": [best_clusters(distance)[0] for distance, _ in twins],
    }
    null = [cloud_silhouettes(distance, settings.n_null, seed) for seed, (distance, _) in enumerate(sets)]
    findings = [
        judge(
            "Nets over many learning rates converge to clusters of solutions: more so than one cloud of solutions "
            "that spreads as far.",
            "best silhouette of a set of nets over the rates, less the 95% quantile for one cloud of points without "
            "clusters, as long in each direction; a set for each seed",
            np.array(silhouettes["many rates"]) - np.quantile(null, 0.95, axis=1),
            above=0.0,
            limits=(-2, 2),
        ),
        judge(
            "It takes the learning rates: nets of one rate cluster less.",
            "best silhouette of a set of nets over the rates, less that of as many nets of the middle rate",
            np.subtract(silhouettes["many rates"], silhouettes["one rate"]),
            above=0.0,
            limits=(-2, 2),
        ),
        judge(
            "The clusters go by learning rate.",
            "share of the variance of the rates' logarithms that the best clusters explain, less what as many clusters "
            "at random would",
            [share_explained(labels, np.log(rate)) for (_, labels), (_, rate) in zip(best, sets, strict=True)],
            above=0.5,
            limits=(-1, 1),
        ),
    ]
    study.say(f"{n_made - len(many)} of {n_made} nets over the rates did not learn, {n_made - len(single)} of one rate")
    losses = np.array([net.facts["losses"][-1] for *_, net in many])
    all_rates = np.array([rate for rate, *_ in many])
    return Outcome({"": draw(matrix, all_rates, losses, silhouettes | {"one cloud": np.ravel(null)}, n_made)}, findings)


def learned(net: Trained, n_classes: int = 10) -> bool:
    """Return whether a net learned: the last loss is a number, and training accuracy is twice that of guessing."""
    return bool(np.isfinite(net.facts["losses"][-1])) and net.facts["train_accuracy"] >= 2 / n_classes


def _set(matrix: Array, nets: Sequence[tuple[float, int, Trained]], seed: int) -> tuple[Array, Array]:
    """Return the distances and learning rates of one seed's nets."""
    part = [place for place, entry in enumerate(nets) if entry[1] == seed]
    if len(part) < LEAST:
        expected, remedy = f"at least {LEAST} nets that learned", "Take other learning rates"
        raise ReproduceError(message(f"learning_rates, seed {seed}", expected, str(len(part)), remedy))
    return matrix[np.ix_(part, part)], np.array([nets[place][0] for place in part])


def draw(matrix: Array, rates: Array, losses: Array, silhouettes: dict[str, Any], n_made: int) -> Figure:
    """Draw the distances by learning rate and by cluster, the result at each rate, and the silhouettes."""
    figure = new_figure(9, 7.2)
    (by_rate, by_cluster), (learning, test) = figure.subplots(2, 2, height_ratios=(1.5, 1))
    labels = best_clusters(matrix)[1]
    apart = matrix[~np.eye(len(matrix), dtype=bool)]
    limits = (float(apart.min()), float(apart.max()))
    increasing = np.argsort(rates, kind="stable")
    _matrix(by_rate, matrix, increasing, limits)
    ticks = np.linspace(0, len(rates) - 1, 5).round().astype(int)
    names = [f"{rates[increasing[tick]]:.2g}" for tick in ticks]
    by_rate.set_xticks(ticks, names, rotation=45)
    by_rate.set_yticks(ticks, names)
    by_rate.set(
        xlabel="learning rate", ylabel="learning rate", title=f"{len(rates)} of {n_made} nets, by learning rate"
    )
    order = ordered(matrix, labels)
    picture = _matrix(by_cluster, matrix, order, limits)
    for edge in np.flatnonzero(np.diff(labels[order])) + 0.5:
        by_cluster.axhline(edge, color="white", linewidth=1)
        by_cluster.axvline(edge, color="white", linewidth=1)
    by_cluster.set(xlabel="net", title="the same nets, by cluster", xticks=[], yticks=[])
    figure.colorbar(picture, ax=[by_rate, by_cluster], label="distance in fc1, 1 - PWCCA")
    for label in np.unique(labels):
        learning.plot(rates[labels == label], losses[labels == label], "o", markersize=4, label=f"cluster {label}")
    learning.set_xscale("log")
    learning.set_xticks(rates[increasing[ticks]], names)
    learning.minorticks_off()
    learning.set(xlabel="learning rate", ylabel="training loss, last epoch", ylim=(0, None))
    learning.legend(frameon=False, fontsize=8)
    for place, (name, values) in enumerate(silhouettes.items()):
        jitter = np.linspace(-0.25, 0.25, len(values))
        cloud = name == "one cloud"
        test.plot(place + jitter, values, "." if cloud else "o", color="0.6" if cloud else f"C{place}", markersize=4)
    test.set_xticks(range(len(silhouettes)), silhouettes)
    test.set(ylabel="silhouette of the best clusters", xlim=(-0.5, len(silhouettes) - 0.5))
    tidy(learning)
    tidy(test)
    return figure


def _matrix(ax: Axes, matrix: Array, order: Array, limits: tuple[float, float]) -> Any:
    return ax.imshow(
        matrix[np.ix_(order, order)], vmin=limits[0], vmax=limits[1], cmap="viridis", interpolation="nearest"
    )
