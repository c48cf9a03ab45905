"""Section 3, theorems 1 and 2, appendix C: the DFT makes SVCCA of convolutional layers exact and cheap.

Covariances of natural images before and after the DFT, without and with all their cyclic translations; CCA of a layer
with circular boundaries by the DFT beside CCA of its flattened maps over all translations; and how far the layers of
real nets, which pad with zeros, are from the theorem's assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import interpolate

import svcca
from reproduce.claims import judge
from reproduce.drawing import band, new_figure, tidy
from reproduce.shared_nets import SHARED, SharedNets
from reproduce.study import Outcome, Settings, Study


@dataclass(frozen=True, kw_only=True)
class FourierSettings(Settings):
    """The nets and the numbers of images.

    Attributes:
        nets: The settings of the conv nets and images.
        n_part: The number of training images in each of as many parts as there are seeds, for the covariance of images.
        n_exact: The number of test images that are translated in every way.
        sizes: The heights and widths that these images are averaged to, smallest first.
        n_gap: The number of test images for the gaps of the nets' layers.
        n_pairs: The number of pairs of frequencies from which a gap is estimated.
    """

    nets: SharedNets
    n_part: int
    n_exact: int = 100
    sizes: tuple[int, ...]
    n_gap: int
    n_pairs: int = 1024


SETTINGS = {
    "quick": FourierSettings(seeds=2, nets=SHARED["quick"], n_part=600, sizes=(4, 8), n_gap=200, n_pairs=64),
    "cpu": FourierSettings(nets=SHARED["cpu"], n_part=5000, sizes=(4, 6, 8, 10), n_gap=1000),
    "full": FourierSettings(seeds=5, nets=SHARED["full"], n_part=10_000, n_exact=250, sizes=(4, 6, 8), n_gap=1000),
}
ITEMS = (9,)
DRAWN = 8
"""Height and width of images for the drawn covariances, which have 64 x 64 entries."""
N_LAYERS = 4
"""As far as relu2, whose maps are flattened: a convolution alone is linear in the image, of rank 3 by frequency."""
LAYERS = ["conv1", "conv2", "pool1", "conv3", "conv4", "conv5", "pool2"]
NETS = {"zeros": "trained", "circular": "same weights, circular", "untrained": "untrained"}


def run(study: Study) -> Outcome:
    """Analyse images, then layers of circular nets, then the nets as they are."""
    settings: FourierSettings = study.settings
    images = settings.nets.images(study)
    nets = [settings.nets.train_conv(study, images, seed) for seed in range(settings.seeds + 1)]
    config, n_pairs = study.config(data=images.config), settings.n_pairs

    def of_images(seed: int) -> dict[str, Any]:
        part = images.train[seed * settings.n_part : (seed + 1) * settings.n_part]
        gap = svcca.fourier.translation_gap(part, n_pairs=n_pairs, seed=seed)
        matrices = covariances(resized(part[:, :1], DRAWN)[:, 0])
        return {"before": gap.before, "after": gap.after, "matrices": matrices}

    def of_nets(seed: int) -> dict[str, Any]:
        one, other = nets[seed : seed + 2]
        kinds = {"zeros": one.net(), "circular": circular(one.net()), "untrained": one.net(one.steps[0])}
        gaps = {}
        for name, net in kinds.items():
            inputs = images.test[: settings.n_gap]
            maps = svcca.activations(net, inputs, layers=LAYERS, observe="fourier", progress=False)
            gaps[name] = [
                svcca.fourier.translation_gap(maps[layer], n_pairs=n_pairs, seed=seed).after for layer in LAYERS
            ]
        first, second = (circular(trained.net())[:N_LAYERS].double() for trained in (one, other))
        exact = [both_ways(first, second, resized(images.test[: settings.n_exact], size)) for size in settings.sizes]
        return {"gaps": gaps, "exact": exact}

    parts = [study.analysis("images", config | {"seed": s}, partial(of_images, s)) for s in study.seeds]
    found = [study.analysis("nets", config | {"seed": s}, partial(of_nets, s)) for s in study.seeds]
    zeros, wrapped = (np.mean([net["gaps"][name] for net in found], axis=1) for name in ("zeros", "circular"))
    share: dict[str, Any] = {"limits": (0, 1)}
    findings = [
        judge(
            "The covariance of natural images is dense between pixels.",
            "share of its energy (sum of squares) between different positions, by part of the training images",
            [part["before"] for part in parts],
            **share | {"above": 0.9},
        ),
        judge(
            "After the DFT it is nearly diagonal, without any translations.",
            "share of its energy between different spatial frequencies",
            [part["after"] for part in parts],
            **share | {"below": 0.5},
        ),
        judge(
            "With all cyclic translations it is exactly diagonal after the DFT.",
            f"share of its energy off the diagonal, images of {DRAWN} x {DRAWN}",
            [off_diagonal(part["matrices"]["translated frequencies"]) for part in parts],
            **share | {"below": 1e-20, "exact": True},
        ),
        judge(
            "By the DFT, CCA of conv layers is that of their flattened maps over all cyclic translations.",
            "largest difference of a canonical correlation, over all sizes",
            [max(way["difference"] for way in net["exact"]) for net in found],
            **share | {"below": 1e-10, "exact": True},
        ),
        judge(
            "So is SVCCA, but for the two equal directions of a frequency, which only a cut of flattened maps splits.",
            "largest difference of the similarity, over all sizes",
            [max(way["svcca_difference"] for way in net["exact"]) for net in found],
            **share | {"below": 0.01, "exact": True},
        ),
        judge(
            "It is cheaper, by ten times at least.",
            f"powers of ten between the seconds of CCA of flattened maps of {settings.sizes[-1]} x "
            f"{settings.sizes[-1]}, all translations being there, and those by the DFT",
            [np.log10(net["exact"][-1]["flattened_seconds"] / net["exact"][-1]["fourier_seconds"]) for net in found],
            above=1.0,
        ),
        judge(
            "The covariance of layers of a trained net, which pads with zeros, is nearly diagonal after the DFT too.",
            "share of its energy between different spatial frequencies, mean over layers",
            zeros,
            **share | {"below": 0.5},
        ),
        judge(
            "Zero padding takes layers further from the theorem than circular padding.",
            "this share, mean over layers, less that with the same weights and circular padding",
            zeros - wrapped,
            above=0.0,
            limits=(-1, 1),
        ),
    ]
    return Outcome({"": draw_covariances(parts[0]["matrices"]), "nets": draw_nets(parts, found, settings)}, findings)


def resized(images: Tensor, size: int) -> Tensor:
    """Average images (n, c, h, w) to a height and width, in float64."""
    return interpolate(images.double(), size=(size, size), mode="area")


def circular(net: Any) -> Any:
    """Make every convolution of a net wrap around at the borders, with the same weights."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "circular"
    return net


def translations(images: Tensor) -> Tensor:
    """Return all cyclic translations of images (n, c, h, w), (h w n, c, h, w)."""
    height, width = images.shape[2:]
    return torch.cat([images.roll(step, (2, 3)) for step in product(range(height), range(width))])


def covariances(maps: Tensor) -> dict[str, list[list[float]]]:
    """Return magnitudes of the covariance of maps (n, h, w): of pixels and frequencies, as they are and translated.

    The covariance is about the mean over all maps and positions, which every position has over all translations.
    """
    one = (maps - maps.mean())[:, None]
    found = {}
    for name, rows in (("", one), ("translated ", translations(one))):
        for domain, columns in (("pixels", rows), ("frequencies", torch.fft.fft2(rows, norm="ortho"))):
            found[name + domain] = ((columns.flatten(1).mH @ columns.flatten(1)).abs() / len(rows)).tolist()
    return found


def off_diagonal(matrix: Any) -> float:
    """Return the share of a matrix's sum of squares that is off its diagonal."""
    squares = np.square(np.asarray(matrix))
    np.fill_diagonal(squares, 0.0)
    return float(squares.sum() / np.square(matrix).sum())


def both_ways(one: nn.Module, other: nn.Module, images: Tensor) -> dict[str, float]:
    """Compute CCA of a layer of two circular nets on small images: by the DFT, and flattened over all translations."""
    with torch.no_grad():
        (x, x_rows), (y, y_rows) = ((net(images), net(translations(images)).flatten(1)) for net in (one, other))
    seconds = []
    for _ in range(3):  # the first call of all has costs of its own
        start = perf_counter()
        fourier = svcca.fourier.fourier_cca(x, y, retained_variance=1.0)
        seconds.append(perf_counter() - start)
    start = perf_counter()
    flattened = svcca.cca(x_rows, y_rows)
    flattened_seconds = perf_counter() - start
    return {
        "difference": largest_difference(fourier.correlations, flattened.correlations),
        "svcca_difference": abs(svcca.fourier.fourier_cca(x, y).similarity - svcca.svcca(x_rows, y_rows).similarity),
        "fourier_seconds": float(np.median(seconds)),
        "flattened_seconds": flattened_seconds,
    }


def largest_difference(one: Any, other: Any) -> float:
    """Return the largest difference of sorted correlations; a correlation that only one side has is compared with 0."""
    n = max(len(one), len(other))
    padded = (np.pad(each, (0, n - len(each))) for each in (one, other))
    return float(np.abs(np.subtract(*padded)).max())


def draw_covariances(part: dict[str, Any]) -> Figure:
    """Draw the four covariances of one part of the images, each relative to its largest entry."""
    figure = new_figure(9, 2.7)
    for ax, (name, matrix) in zip(figure.subplots(1, 4), part.items(), strict=True):
        picture = ax.imshow((np.array(matrix) / np.max(matrix)).clip(1e-5), norm=LogNorm(1e-5, 1), cmap="magma")
        share = off_diagonal(matrix)
        domain, title = ("pixel", "pixels") if name.endswith("pixels") else ("frequency", "after the DFT")
        title += "\nall translations" if "translated" in name else "\nimages as they are"
        ax.set_title(f"{title}\noff the diagonal: {share:.2{'f' if share > 1e-6 else 'g'}}", fontsize=9)
        ax.set(xlabel=domain, ylabel=domain, xticks=(0, 32, 63), yticks=(0, 32, 63))
    figure.colorbar(picture, ax=figure.axes, label="covariance / largest", shrink=0.9)
    return figure


def draw_nets(parts: list[Any], found: list[Any], settings: FourierSettings) -> Figure:
    """Draw the times of both ways by size, and the gap of each layer."""
    figure = new_figure(9, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.3])
    for name, label in (("flattened", "flattened, all translations"), ("fourier", "by the DFT")):
        seconds = [[way[f"{name}_seconds"] for way in net["exact"]] for net in found]
        left.plot(settings.sizes, np.mean(seconds, axis=0), marker="o", label=label)
    left.set_xticks(settings.sizes, [f"{size} x {size}" for size in settings.sizes])
    left.set(yscale="log", xlabel="size of the maps of relu2", ylabel="seconds of CCA")
    left.legend(frameon=False, fontsize=8)
    for (name, label), colour in zip(NETS.items(), ("C0", "C2", "0.5"), strict=True):
        gaps = [net["gaps"][name] for net in found]
        band(right, range(len(LAYERS)), gaps, marker="o", markersize=4, color=colour, label=label)
    images = np.mean([part["after"] for part in parts])
    right.axhline(images, color="black", linestyle="--", linewidth=1, label="the images themselves")
    right.set_xticks(range(len(LAYERS)), LAYERS, fontsize=8)
    right.set(ylabel="energy between different frequencies (share)", ylim=(0, 1))
    right.legend(frameon=False, fontsize=8, ncols=2)
    for ax in (left, right):
        tidy(ax).tick_params(axis="y", which="minor", labelleft=False)
    return figure
