"""Tutorial: one conv layer in two nets, treated in six ways before CCA.

Space folded into samples (all positions, or a choice of them), space folded away by averaging, maps resized, maps
flattened, and flattened maps by spatial frequency; each with its chance level, its time, and the nets before training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import svcca
from reproduce.claims import judge
from reproduce.drawing import new_figure, tidy
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study

Array = np.ndarray[Any, Any]
WAYS = ("positions", "rows")
"""Ways to subsample pixels: the same positions in all images, or any rows, as in the tutorial."""


@dataclass(frozen=True, kw_only=True)
class ConvTreatments(Settings):
    """The nets, the layer and the number of images.

    Attributes:
        nets: The settings of the conv nets.
        n_images: The number of test images.
        layer: The layer that is compared with its twin in the net of the next seed.
        rates: The shares of the pixels that are kept, largest first.
        draws: The number of choices of pixels for each rate.
        claimed: The rate at which the number should still be that of all pixels.
    """

    nets: SharedNets
    n_images: int
    layer: str = "pool2"
    rates: tuple[float, ...] = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64)
    draws: int = 5
    claimed: float = 1 / 16


SETTINGS = {
    "quick": ConvTreatments(
        seeds=2, nets=SHARED["quick"], n_images=597, layer="pool1", rates=(1 / 2, 1 / 4, 1 / 16), draws=3
    ),
    "cpu": ConvTreatments(nets=SHARED["cpu"], n_images=10_000),
    "full": ConvTreatments(seeds=5, nets=SHARED["full"], n_images=10_000),
}
ITEMS = (25,)


def run(study: Study) -> Outcome:
    """Compare each net's layer with that of the net of the next seed, by every treatment."""
    settings: ConvTreatments = study.settings
    images = settings.nets.images(study)
    nets = [settings.nets.train_conv(study, images, seed) for seed in range(settings.seeds + 1)]

    def compared(seed: int) -> dict[str, Any]:
        def maps(step: int | None) -> list[Tensor]:
            # "fourier" keeps a layer's maps as they are.
            inputs, layer = images.test[: settings.n_images], settings.layer
            both = (net.net(step) for net in nets[seed : seed + 2])
            return [
                svcca.activations(net, inputs, layers=[layer], observe="fourier", progress=False)[layer] for net in both
            ]

        x, y = maps(None)
        untrained = {name: treatment["value"] for name, treatment in treated(*maps(0)).items()}
        subsamples = subsampled(x, y, settings.rates, settings.draws)
        return {"treatments": treated(x, y), "untrained": untrained, "subsampled": subsamples}

    config = study.config(data=images.config)
    found = [study.analysis("pair", config | {"seed": s}, partial(compared, s)) for s in study.seeds]
    treatments = {name: np.array([pair["treatments"][name]["value"] for pair in found]) for name in _names(found)}
    pixels = treatments["pixels"]
    share = f"1 in {round(1 / settings.claimed)}"
    words = {"rows": "pixels drawn from all images and positions", "positions": "positions, the same in all images"}
    findings = [
        judge(
            f"Subsampled pixels give the number that all pixels give ({share} of {words[way]}).",
            f"largest change of the similarity over draws of {share}",
            largest_change([pair["subsampled"][way] for pair in found], settings.rates, settings.claimed, pixels),
            below=0.02,
            limits=(0, 1),
        )
        for way in ("rows", "positions")
    ]
    findings += [
        judge(
            "Averages over space are another question: they agree more than the pixels do.",
            "similarity by averages, less that by all pixels",
            treatments["pool"] - pixels,
            above=0.0,
            limits=(-1, 1),
        ),
        judge(
            "Maps may be interpolated to another size without changing the number much.",
            "change of the similarity by pixels if both layers are resized to twice or half the size, the larger",
            np.max([np.abs(treatments[name] - pixels) for name in treatments if name.startswith("resized")], axis=0),
            below=0.05,
            limits=(0, 1),
        ),
    ]
    return Outcome({"": draw(found, settings)}, findings)


def treated(x: Tensor, y: Tensor) -> dict[str, dict[str, float]]:
    """Compare maps (n, c, h, w) of one size by each treatment; return value, chance level, rows and seconds, by name.

    Flattened maps are left out unless there are more images than twice their values.
    """
    size = x.shape[2]
    rules: dict[str, Any] = {"pixels": "pixels"}
    rules |= {f"resized to {s} x {s}": svcca.Interpolate(sizes=(s, s)) for s in (size // 2, 2 * size)}
    rules |= {"pool": "pool", "fourier": "fourier"}
    if 2 * x[0].numel() < len(x):
        rules["flatten"] = "flatten"
    found = {}
    for name, rule in rules.items():
        n_rows = len(x) * (size**2 if name == "pixels" else 1)
        if isinstance(rule, svcca.Interpolate) and rule.sizes:
            n_rows = len(x) * rule.sizes[0] * rule.sizes[1]
        svcca.compare(
            {"maps": x[:100]}, {"maps": y[:100]}, observe=rule, progress=False
        )  # what only a first call costs
        start = perf_counter()
        matrix = svcca.compare({"maps": x}, {"maps": y}, observe=rule, progress=False)
        seconds = perf_counter() - start
        value, chance = float(matrix.values[0, 0]), float(matrix.chance[0, 0])
        found[name] = {"value": value, "chance": chance, "rows": n_rows, "seconds": seconds}
    return found


def subsampled(x: Tensor, y: Tensor, rates: Any, draws: int) -> dict[str, list[dict[str, Any]]]:
    """Compare maps by a share of their pixels: values over draws and mean seconds, one dict per rate, by `WAYS`."""
    n, n_positions = len(x), x[0, 0].numel()
    whole = svcca.Pixels()
    x_rows, y_rows = (whole.rows(maps, None, "maps") for maps in (x, y))
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for rate in rates:
        values: dict[str, list[float]] = {way: [] for way in WAYS}
        seconds = dict.fromkeys(WAYS, 0.0)
        for draw_number in range(draws):
            chosen = svcca.Pixels(n_positions=max(1, round(rate * n_positions)), seed=draw_number)
            generator = torch.Generator().manual_seed(draw_number)
            some = torch.randperm(len(x_rows), generator=generator)[: round(rate * len(x_rows))]
            for way in WAYS:
                start = perf_counter()
                if way == "positions":
                    one, other = (chosen.rows(maps, None, "maps") for maps in (x, y))
                else:
                    one, other = x_rows[some], y_rows[some]
                values[way].append(svcca.svcca(one, other).similarity)
                seconds[way] += (perf_counter() - start) / draws
        for way in WAYS:
            found[way].append({"rows": round(rate * n * n_positions), "values": values[way], "seconds": seconds[way]})
    return found


def largest_change(pairs: Any, rates: Any, rate: float, whole: Any) -> Array:
    """Return the largest distance over draws from the value of all pixels at one rate, (n_pairs,).

    Args:
        pairs: For each pair of nets, a dict with "values" over draws for each rate.
        rates: The rates, in that order.
        rate: The rate to look at.
        whole: The value of all pixels for each pair of nets.
    """
    place = int(np.abs(np.array(rates) - rate).argmin())
    return np.array(
        [np.abs(np.array(pair[place]["values"]) - value).max() for pair, value in zip(pairs, whole, strict=True)]
    )


def _names(found: list[dict[str, Any]]) -> list[str]:
    return list(found[0]["treatments"])


def draw(found: list[dict[str, Any]], settings: ConvTreatments) -> Figure:
    """Draw each treatment's value, chance and time, and beside them the value against the number of pixels."""
    figure = new_figure(9, 4)
    mosaic: list[Any] = [["bars", "times", "right"], ["bars", "times", "right"], ["bars", "times", "cost"]]
    panes = figure.subplot_mosaic(mosaic, width_ratios=[1, 0.6, 1.3])
    bars, times, right, cost = (panes[name] for name in ("bars", "times", "right", "cost"))
    names = _names(found)[::-1]
    for place, name in enumerate(names):
        pairs = [pair["treatments"][name] for pair in found]
        values = [pair["value"] for pair in pairs]
        bars.barh(place, np.mean(values), color="C0", alpha=0.35)
        bars.plot(values, [place] * len(values), "o", color="C0", markersize=3)
        level = np.mean([pair["chance"] for pair in pairs])
        bars.plot([pair["untrained"][name] for pair in found], [place] * len(found), "x", color="black", markersize=4)
        bars.plot([level, level], [place - 0.4, place + 0.4], color="C1", linewidth=2)
        times.plot(np.mean([pair["seconds"] for pair in pairs]), place, "o", color="C0")
    bars.plot([], [], "x", color="black", markersize=4, label="untrained nets")
    bars.plot([], [], color="C1", linewidth=2, label="chance")
    bars.set_yticks(range(len(names)), names)
    bars.set(xlabel="SVCCA similarity", xlim=(0, 1))
    times.set_yticks(range(len(names)), [])
    times.set(xlabel="seconds", xscale="log", ylim=bars.get_ylim())
    times.tick_params(axis="x", which="minor", labelbottom=False)
    times.grid(axis="x", color="0.9")
    whole = np.mean([pair["treatments"]["pixels"]["value"] for pair in found])
    right.axhspan(whole - 0.02, whole + 0.02, color="0.92", zorder=0, label="all pixels ± 0.02")
    labels = {"positions": "positions, the same in all images", "rows": "pixels of any position"}
    for number, way in enumerate(WAYS):
        points = [pair["subsampled"][way] for pair in found]
        # Each pair of nets less its own value by all pixels, so that the spread is that of the draws.
        offsets = np.array([[rate["values"] for rate in pair] for pair in points]) - np.array(
            [[[pair["treatments"]["pixels"]["value"]]] for pair in found]
        )
        n_rows = np.array([rate["rows"] for rate in points[0]]) * (1.06 if number else 0.94)
        values = whole + offsets.transpose(1, 0, 2).reshape(len(n_rows), -1)
        middle, low, high = values.mean(axis=1), values.min(axis=1), values.max(axis=1)
        style: dict[str, Any] = {
            "color": f"C{2 * number}",
            "marker": "os"[number],
            "markersize": 4,
            "capsize": 2,
            "linewidth": 1,
        }
        right.errorbar(n_rows, middle, [middle - low, high - middle], label=labels[way], **style)
        cost.plot(
            n_rows, np.mean([[rate["seconds"] for rate in pair] for pair in points], axis=0), color=f"C{2 * number}"
        )
    taken = [rate["rows"] for rate in found[0]["subsampled"][WAYS[0]]]
    for ax, labels_below in ((right, [""] * len(taken)), (cost, [f"{number:,}" for number in taken])):
        ax.set(xscale="log")
        ax.set_xticks(taken, labels_below, rotation=45, fontsize=8)
        ax.minorticks_off()
    right.set_ylabel("SVCCA similarity by pixels")
    cost.set(ylim=(0, None), ylabel="seconds", xlabel=f"pixels of {settings.layer} kept, {settings.n_images:,} images")
    handles = [each for ax in (bars, right) for each in ax.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, frameon=False, fontsize=8, ncols=5, loc="outside upper center")
    for ax in (bars, times, right, cost):
        tidy(ax)
    return figure
