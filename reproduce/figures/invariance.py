"""App. A: what a map of the units changes: CCA's correlations never, SVCCA and CKA sometimes, single neurons mostly.

Layers of two trained conv nets, a feature a channel averaged over space, are compared before and after both were
mapped, each by a map of its own: units permuted, rotated, scaled alike, scaled each by itself, or mixed by any
invertible matrix; the last three also move the means. Activations are float32, whose rounding can fill directions that
a layer does not use; these are set to zero first, so that "unchanged" can be asked to 1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import new_figure, tidy
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study

Array = npt.NDArray[np.float64]
Map = Callable[[Array, np.random.Generator], Array]


@dataclass(frozen=True, kw_only=True)
class Invariance(Settings):
    """The nets, and the number of test images they are compared on."""

    n_compared: int
    layers: tuple[str, ...] = ("!relu*", "!flat")
    nets: SharedNets


SETTINGS = {
    "quick": Invariance(seeds=2, n_compared=597, layers=("conv*", "fc*", "out"), nets=SHARED["quick"]),
    "cpu": Invariance(n_compared=5000, nets=SHARED["cpu"]),
    "full": Invariance(seeds=5, n_compared=10_000, nets=SHARED["full"]),
}
ITEMS = (8,)
CONDITION = 10.0
"""Largest over smallest factor of the scales of units and of the invertible map."""
EXACT = 1e-12
"""What "unchanged" means: the papers' own words for rho."""
EPS = float(np.finfo(np.float64).eps)
TELLABLE = EXACT / (CONDITION * EPS)
"""Condition number up to which float64 can tell a change of EXACT: rounding is condition x EPS, the map's included."""
ROUNDING = 10.0
"""Change, in units of condition x EPS, up to which it is said to be rounding."""
CHANGED = 0.01
"""The least change of a control."""
SIMILARITIES = ("svcca", "pwcca", "linear_cka", "procrustes")
LABELS = {
    "rho": "ρ of CCA, by QR",
    "rho_default": "ρ of CCA, default route",
    "svcca": "SVCCA similarity",
    "pwcca": "PWCCA",
    "linear_cka": "linear CKA",
    "procrustes": "Procrustes",
    "neurons": "best single neuron",
}


def rotated(rows: Array, rng: np.random.Generator) -> Array:
    """Rotate the units at random."""
    return rows @ _orthogonal(rows.shape[1], rng)


def scaled(rows: Array, rng: np.random.Generator) -> Array:
    """Scale all units alike, and shift them."""
    return rng.uniform(1, CONDITION) * rows + rng.normal()


def scaled_each(rows: Array, rng: np.random.Generator) -> Array:
    """Scale and shift each unit separately, in random order."""
    p = rows.shape[1]
    return rows * rng.permutation(np.geomspace(1, CONDITION, p)) + rng.normal(size=p)


def mixed(rows: Array, rng: np.random.Generator) -> Array:
    """Mix the units by an invertible matrix with singular values from 1 to CONDITION, and shift them."""
    p = rows.shape[1]
    turn, scales, other = _orthogonal(p, rng), np.geomspace(1, CONDITION, p), _orthogonal(p, rng)
    return rows @ ((turn * scales) @ other) + rng.normal(size=p)


MAPS: dict[str, Map] = {
    "units permuted": lambda rows, rng: rows[:, rng.permutation(rows.shape[1])],
    "rotated": rotated,
    "scaled alike": scaled,
    "scaled each": scaled_each,
    "any invertible map": mixed,
}


def run(study: Study) -> Outcome:
    """Map the layers of each pair of nets, and measure what changes."""
    settings: Invariance = study.settings
    images = settings.nets.images(study)
    nets = [settings.nets.train_conv(study, images, seed).net() for seed in range(settings.seeds + 1)]
    inputs = images.test[: settings.n_compared]

    def pair(seed: int) -> dict[str, Any]:
        first, second = (svcca.activations(net, inputs, layers=settings.layers) for net in nets[seed : seed + 2])
        rng = np.random.default_rng(seed)
        layers = [(resolved(first[name].numpy()), resolved(second[name].numpy())) for name in first]
        changes = [changed(x, y, rng) for x, y in layers]
        return {
            "condition": [max(condition(x), condition(y)) for x, y in layers],
            "changes": {name: [change[name] for change in changes] for name in LABELS},
        }

    config = study.config(data=images.config)
    found = [study.analysis("pair", config | {"seed": s}, lambda s=s: pair(s)) for s in study.seeds]
    conditions = np.array([one["condition"] for one in found])
    # (seed, layer, map) for each measure
    changes = {name: np.array([one["changes"][name] for one in found]) for name in LABELS}
    return Outcome({"": draw(conditions, changes)}, judged(conditions, changes))


def resolved(rows: npt.NDArray[Any]) -> Array:
    """Return rows in float64 without the directions that are below the rounding of their own precision."""
    found = svcca.measures.pca(rows)
    wide = rows.astype(np.float64)
    return found.mean + (wide - found.mean) @ found.directions @ found.directions.T


def condition(rows: Array) -> float:
    """Return the largest over the smallest singular value of a layer, among those that are not zero."""
    values = svcca.measures.pca(rows).singular_values
    return float(values[0] / values[-1])


def changed(x: Array, y: Array, rng: np.random.Generator) -> dict[str, list[float]]:
    """Return how much each map changes each measure: for rho the largest change, for a similarity its own."""
    before = measured(x, y)
    after = [measured(change(x, rng), change(y, rng)) for change in MAPS.values()]
    return {name: [largest_change(before[name], values[name]) for values in after] for name in before}


def measured(x: Array, y: Array) -> dict[str, Array]:
    """Return all canonical correlations by two solvers, several similarities, and the best match of single neurons."""
    found = {"rho": svcca.cca(x, y, solver="qr").correlations, "rho_default": svcca.cca(x, y).correlations}
    for name, result in svcca.measures.similarities(x, y, list(SIMILARITIES)).items():
        found[name] = np.array([result.similarity])
    return found | {"neurons": np.array([best_single_neuron(x, y)])}


def best_single_neuron(x: Array, y: Array) -> float:
    """Return the largest absolute correlation of each unit of x with a unit of y, mean over units that vary."""
    units = [rows - rows.mean(axis=0) for rows in (x, y)]
    norms = [np.linalg.norm(rows, axis=0) for rows in units]
    first, second = (
        rows[:, norm > 1e-9 * norm.max()] / norm[norm > 1e-9 * norm.max()]
        for rows, norm in zip(units, norms, strict=True)
    )
    return float(np.abs(first.T @ second).max(axis=1).mean())


def largest_change(before: Array, after: Array) -> float:
    """Return the largest absolute difference; a correlation that only one side has counts as 0 on the other."""
    length = max(len(before), len(after))
    first, second = (np.pad(values, (0, length - len(values))) for values in (before, after))
    return float(np.abs(first - second).max())


def in_roundings(conditions: Array, change: Array) -> Array:
    """Return changes (seed, layer, map) in units of the rounding that layers and maps allow, the largest per seed."""
    of_maps = np.array([CONDITION if name in ("scaled each", "any invertible map") else 1.0 for name in MAPS])
    return (change / (conditions[:, :, None] * of_maps * EPS)).max(axis=(1, 2))


def judged(conditions: Array, changes: dict[str, Array]) -> list[Finding]:
    """Judge what should be unchanged, and that the controls are not; one number per pair of nets."""
    maps = list(MAPS)
    orthogonal = [maps.index(name) for name in ("units permuted", "rotated", "scaled alike")]
    simple, invertible = [*orthogonal, maps.index("scaled each")], [maps.index("any invertible map")]

    def unchanged(claim: str, name: str, which: list[int], up_to: float = TELLABLE) -> Finding:
        statistic = f"{LABELS[name]}: largest change, over layers and {', '.join(maps[i] for i in which)}"
        statistic += f"; layers of condition number up to {up_to:.0f}" if math.isfinite(up_to) else ""
        values = np.where(conditions <= up_to, changes[name][:, :, which].max(axis=2), 0.0).max(axis=1)
        return judge(claim, statistic, values, below=EXACT, limits=(0, 1))

    def control(claim: str, name: str, which: str) -> Finding:
        values = changes[name][:, :, maps.index(which)].mean(axis=1)
        return judge(claim, f"{LABELS[name]}: change, {which}, mean over layers", values, above=CHANGED, limits=(0, 1))

    return [
        unchanged("Permuting, rotating and scaling units does not change any canonical correlation.", "rho", simple),
        unchanged("Nor does any other invertible affine map.", "rho", invertible),
        judge(
            "On layers of any condition, what changes is the rounding of float64.",
            f"{LABELS['rho']}: change over condition (the map's included) x {EPS:.1e}, largest over layers and maps",
            in_roundings(conditions, changes["rho"]),
            below=ROUNDING,
            limits=(0, math.inf),
        ),
        unchanged("The first two also hold by the library's default route.", "rho_default", simple + invertible),
        unchanged(
            "With the SVD step, permuting, rotating and a common scale change nothing.", "svcca", orthogonal, math.inf
        ),
        unchanged("With the SVD step, no invertible affine map changes anything.", "svcca", invertible, math.inf),
        control("Control: linear CKA does change under an invertible map.", "linear_cka", "any invertible map"),
        control("Control: what single neurons say does change under a rotation.", "neurons", "rotated"),
    ]


def draw(conditions: Array, changes: dict[str, Array]) -> Figure:
    """Draw the largest change of each measure by each map, and that of rho against the condition of the layers."""
    figure = new_figure(9, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    worst = np.array([values.max(axis=(0, 1)) for values in changes.values()])
    powers = np.log10(np.maximum(worst, 1e-16))
    left.imshow(powers, vmin=-16, vmax=0, cmap="viridis", aspect="auto")
    for (row, column), power in np.ndenumerate(powers):
        colour = "black" if power > -5 else "white"
        left.text(column, row, f"{worst[row, column]:.0e}", color=colour, ha="center", va="center", fontsize=8)
    left.set_xticks(range(len(MAPS)), [name.replace(" ", "\n", 1) for name in MAPS], fontsize=8)
    left.set_yticks(range(len(LABELS)), LABELS.values(), fontsize=8)
    left.set_title("largest change, over all layers and nets", fontsize=10)
    last = list(MAPS).index("any invertible map")
    for name, marker, colour in (("rho_default", "x", "C1"), ("rho", "o", "C0")):
        values = np.maximum(changes[name][:, :, last].ravel(), 1e-16)
        right.plot(conditions.ravel(), values, marker, color=colour, markersize=4, label=LABELS[name])
    right.axhline(EXACT, color="0.5", linewidth=1, linestyle=":")
    right.axvline(TELLABLE, color="0.5", linewidth=1, linestyle=":")
    ends = np.array([conditions.min(), conditions.max()])
    right.plot(ends, ends * CONDITION * EPS, color="0.5", linewidth=1, label="condition of both × 2.2e-16")
    right.set(
        xscale="log", yscale="log", xlabel="condition number of the layers", ylabel="change by any invertible map"
    )
    right.legend(frameon=False, fontsize=8, loc="upper left")
    tidy(right)
    return figure


def _orthogonal(p: int, rng: np.random.Generator) -> Array:
    return np.linalg.qr(rng.normal(size=(p, p)))[0]
