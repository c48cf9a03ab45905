"""Figures 1 and 3: toy regression, two seeds: what of the last hidden layer they share, and how little of it is enough.

A net has one input, four hidden layers of 200 units (ReLU) and four outputs, each a simple function of the input. The
last hidden layers of two nets are compared on random inputs and judged on a grid of other inputs. Directions have no
sign of their own: those of the second net are flipped to agree with the first's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from torch import Tensor

import svcca
from reproduce.claims import Finding, judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.study import Outcome, Settings, Study
from reproduce.toy import GRID, LAST_HIDDEN, output_of, random_inputs, rows_of, train_toy
from reproduce.training import Training

Array = npt.NDArray[np.float64]


LONG = Training(epochs=100, snapshots=1)
"""One snapshot beside the last: of the fresh net."""


@dataclass(frozen=True, kw_only=True)
class ToyRegression(Settings):
    """The nets, and the number of directions. A seed is a pair of nets; no net is in two pairs."""

    width: int = 200
    n_train: int = 2000
    training: Training = LONG
    n_fit: int = 1000
    """Random inputs on which directions are found; they are judged on a grid of 401 others."""
    top: int = 3
    retained_variance: float = 0.99999
    """Retained variance of the SVD step before projecting: 0.99 would keep about six directions, too few for 30."""
    shown: tuple[int, ...] = (2, 6, 15, 30)
    kept: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 100, 150, 200)


SETTINGS = {
    "quick": ToyRegression(
        seeds=2,
        width=100,
        n_train=1000,
        training=Training(epochs=40, batch=100, snapshots=1),
        kept=(1, 2, 4, 6, 10, 15, 30, 60, 100),
    ),
    "cpu": ToyRegression(seeds=5),
    "full": ToyRegression(seeds=20, n_train=10_000, training=Training(epochs=200, snapshots=1), n_fit=10_000),
}
ITEMS = (1, 4)
KINDS = {"svcca": "SVCCA directions", "svd": "SVD directions", "neurons": "highest neurons"}
BASELINES = {"pca": "SVD directions", "largest_activation": "highest neurons", "random_neurons": "random neurons"}
ALIKE = 0.95
"""The least correlation at which two curves are said to coincide."""
SAME = 0.05
"""Relative error up to which outputs are said to look the same."""


def run(study: Study) -> Outcome:
    """Train pairs of nets; compare, project, judge."""
    settings: ToyRegression = study.settings

    def analysed(seed: int) -> dict[str, Any]:
        pair = [
            train_toy(study, settings.width, settings.n_train, settings.training, number)
            for number in (2 * seed, 2 * seed + 1)
        ]
        inputs = random_inputs(settings.n_fit, seed=1)
        after, before = ([trained.net(step).cpu() for trained in pair] for step in (None, 0))
        return {
            "trained": compared(after, inputs, settings.top),
            "untrained": compared(before, inputs, settings.top),
            "projected": projected(after, inputs, settings),
        }

    found = [study.analysis("pair", study.config(seed=s), lambda s=s: analysed(s)) for s in study.seeds]
    matched = {
        state: {kind: np.array([one[state][kind]["matched"] for one in found]) for kind in KINDS}
        for state in ("trained", "untrained")
    }
    errors = {kind: np.array([one["projected"]["errors"][kind] for one in found]) for kind in ("svcca", *BASELINES)}
    figures = {
        "directions": draw_directions(found[0]["trained"], matched),
        "projected": draw_projected(settings, found[0]["projected"]["outputs"], errors),
    }
    return Outcome(figures, judged(settings, matched, errors))


def compared(nets: list[Any], inputs: Tensor, top: int) -> dict[str, Any]:
    """Return the top curves of both nets over the grid, by kind, and the correlations of the i-th with the i-th."""
    fit, grid = ([rows_of(net, data) for net in nets] for data in (inputs, GRID))
    shared = svcca.svcca(*fit)
    curves = {"svcca": (shared.transform(grid[0])[:, :top], shared.transform_y(grid[1])[:, :top])}
    curves["svd"] = tuple(g @ svcca.measures.pca(f).directions[:, :top] for f, g in zip(fit, grid, strict=True))
    highest = [np.abs(rows).mean(axis=0).argsort()[::-1][:top] for rows in fit]
    curves["neurons"] = tuple(rows[:, units] for rows, units in zip(grid, highest, strict=True))
    found: dict[str, Any] = {"ranks": [shared.x_rank, shared.y_rank]}
    for kind, (first, second) in curves.items():
        signed = correlations(first, second)
        pair = [standardised(first), standardised(second) * np.where(signed < 0, -1.0, 1.0)]
        found[kind] = {"matched": np.abs(signed).tolist(), "curves": [curve.round(4).tolist() for curve in pair]}
    return found


def correlations(first: Array, second: Array) -> Array:
    """Correlate the i-th column of one array with the i-th of the other; 0 where a column is constant."""
    return (standardised(first) * standardised(second)).mean(axis=0)


def standardised(curves: Array) -> Array:
    """Return columns of mean 0 and variance 1; a constant column becomes 0."""
    centred = curves - curves.mean(axis=0)
    spread = centred.std(axis=0)
    return centred / np.where(spread > 0, spread, 1.0)


def projected(nets: list[Any], inputs: Tensor, settings: ToyRegression) -> dict[str, Any]:
    """Return outputs over the grid with k SVCCA directions of the last hidden layer, and the error by kind and k."""
    outputs: dict[str, list[Any]] = {str(k): [] for k in (*settings.shown, settings.width)}
    errors: dict[str, Any] = {kind: [] for kind in ("svcca", *BASELINES)}
    from_target = []
    for net, other in (nets, nets[::-1]):
        found = svcca.directions(net, inputs, LAST_HIDDEN, against=other, retained_variance=settings.retained_variance)
        from_target.append(found.n_from_target)
        whole = output_of(net)
        for kind in errors:
            directions = found if kind == "svcca" else found.baseline(kind)
            errors[kind].append([])
            for k in settings.kept:
                with svcca.project(net, LAST_HIDDEN, directions, k):
                    part = output_of(net)
                errors[kind][-1].append(relative_error(part, whole))
                if kind == "svcca" and str(k) in outputs:
                    outputs[str(k)].append(part.round(4).tolist())
    means = {kind: np.mean(values, axis=0).tolist() for kind, values in errors.items()}
    return {"outputs": outputs, "errors": means, "from_target": from_target}


def relative_error(part: Array, whole: Array) -> float:
    """Return the root-mean-square difference of two outputs over the spread of the second, all outputs together."""
    return float(np.linalg.norm(part - whole) / np.linalg.norm(whole - whole.mean(axis=0)))


def judged(settings: ToyRegression, matched: dict[str, dict[str, Array]], errors: dict[str, Array]) -> list[Finding]:
    """Judge the paper's claims on both figures."""
    means = {state: {kind: values.mean(axis=1) for kind, values in kinds.items()} for state, kinds in matched.items()}
    trained, top, last = means["trained"], settings.top, settings.shown[-1]
    alike = (
        f"absolute correlation of the i-th of one net with the i-th of the other on new inputs, mean of the top {top}"
    )
    at = settings.kept.index(last)

    def ahead(claim: str, rival: str, values: Array) -> Finding:
        return judge(claim, f"{alike}: SVCCA less {rival}", trained["svcca"] - values, above=0.0, limits=(-1, 1))

    return [
        judge("The top SVCCA directions of two nets coincide.", alike, trained["svcca"], above=ALIKE, limits=(0, 1)),
        ahead("SVD directions of two nets coincide less.", "SVD", trained["svd"]),
        ahead("Neurons of highest activation coincide less.", "neurons", trained["neurons"]),
        ahead("SVCCA directions of untrained nets coincide less.", "untrained", means["untrained"]["svcca"]),
        judge(
            f"With {last} SVCCA directions kept, the output looks like that of all {settings.width} units.",
            "root-mean-square change of the output over its spread, mean of both nets",
            errors["svcca"][:, at],
            below=SAME,
            limits=(0, math.inf),
        ),
        judge(
            f"{last} neurons do not do that.",
            f"the same for the {last} neurons of highest activation",
            errors["largest_activation"][:, at],
            above=SAME,
            limits=(0, math.inf),
        ),
    ]


def draw_directions(pair: dict[str, Any], matched: dict[str, dict[str, Array]]) -> Figure:
    """Draw the top curves of one pair of nets, by kind, and how well they match in all pairs."""
    figure = new_figure(9, 5.2)
    axes = figure.subplots(2, 2)
    grid = GRID[:, 0].numpy()
    for ax, (kind, label) in zip(axes.flat, reversed(KINDS.items()), strict=False):
        for curves, style in zip(
            pair[kind]["curves"], ({"alpha": 0.45, "linewidth": 3}, {"linestyle": "--"}), strict=True
        ):
            for number, curve in enumerate(np.array(curves).T):
                ax.plot(grid, curve, color=f"C{number}", **style)
        ax.set(
            title=f"{label}, top {len(matched['trained'][kind][0])}",
            xlabel="input",
            ylabel="standardised",
            xticks=(-1, 0, 1),
        )
        tidy(ax)
    ax = axes[1, 1]
    for place, kind in enumerate(reversed(KINDS)):
        for state, marker, shift in (("trained", "o", -0.12), ("untrained", "x", 0.12)):
            values = matched[state][kind].mean(axis=1)
            ax.plot([place + shift] * len(values), values, marker, color="C0" if shift < 0 else "0.5", label=state)
    ax.set_xticks(range(len(KINDS)), [label.replace(" ", "\n") for label in reversed(KINDS.values())])
    ax.set(ylabel="i-th with i-th, |correlation|", ylim=(0, 1.05), title="all pairs, on new inputs")
    ax.legend(*[part[:2] for part in ax.get_legend_handles_labels()], frameon=False, loc="lower right")
    tidy(ax)
    figure.supxlabel("wide, pale: one net; dashed: another, its signs turned to agree", fontsize=9)
    return figure


def draw_projected(settings: ToyRegression, outputs: dict[str, Any], errors: dict[str, Array]) -> Figure:
    """Draw the outputs of a pair with k directions kept, and the error against k beside baselines."""
    figure = new_figure(9, 4.6)
    axes = figure.subplots(2, 3)
    grid = GRID[:, 0].numpy()
    for ax, (k, pair) in zip(axes.flat, outputs.items(), strict=False):
        for output, style in zip(pair, ("-", "--"), strict=True):
            for number, curve in enumerate(np.array(output).T):
                ax.plot(grid, curve, style, color=f"C{number}", linewidth=1.5)
        title = f"all {k}" if int(k) == settings.width else f"{k} SVCCA directions"
        ax.set(title=title, xlabel="input", xticks=(-1, 0, 1), yticks=(-1, 0, 1), ylim=(-1.6, 1.6))
        tidy(ax)
    ax = axes[1, 2]
    for number, (kind, label) in enumerate({"svcca": KINDS["svcca"], **BASELINES}.items()):
        seen = np.where(errors[kind] > 0, errors[kind], np.nan)  # 0 once all units that ever fire are kept
        style = {"color": f"C{number}", "marker": "osD^"[number], "markersize": 3}
        band(ax, settings.kept, seen, label=label, **style)
    ax.axhline(SAME, color="0.5", linewidth=1, linestyle=":")
    ax.set(xscale="log", yscale="log", xlabel="kept", ylabel="relative error", title="change of the output")
    ax.legend(frameon=False, fontsize=7)
    tidy(ax)
    figure.supxlabel("outputs, one colour each; solid: one net, dashed: another", fontsize=9)
    return figure
