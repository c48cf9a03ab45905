"""Figure 5: Freeze Training, what it saves and what it costs.

Each arm trains the same net, from the same weights, on the same batches in the same order. The control trains without
freezing for half as long: it shows what the same saving costs without the method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

import svcca
from reproduce.cache import plain
from reproduce.claims import Finding, half_width, judge
from reproduce.data.images import Images
from reproduce.drawing import band, new_figure, tidy
from reproduce.nets import Net
from reproduce.study import Outcome, Settings, Study, accuracy, classification_loss
from reproduce.training import Training, translated, translations

BASELINE, SHORT = "no freezing", "no freezing, half as long"
ARMS: dict[str, Callable[[Tensor, int], dict[str, Any]]] = {
    "linear": lambda probe, n_blocks: {"schedule": "linear"},
    "linear, second half": lambda probe, n_blocks: {"schedule": [0.5 + 0.5 * i / n_blocks for i in range(1, n_blocks)]},
    "adaptive": lambda probe, n_blocks: {"schedule": svcca.freeze.AdaptiveFreezing(probe)},
}
"""What is passed to `svcca.FreezeTraining`, the paper's linear schedule first."""


@dataclass(frozen=True, kw_only=True)
class FreezeTraining(Settings):
    """Which nets are trained how, and in which arms beside those without freezing.

    The adaptive arms watch `n_probe` images that are not trained on. Accuracy is that on all test images at the end,
    and on the first `n_curve` of them after each epoch before it.
    """

    nets: tuple[Net, ...]
    training: Training
    arms: tuple[str, ...]
    n_train: int
    n_probe: int
    n_test: int
    n_curve: int


SETTINGS = {
    "quick": FreezeTraining(
        seeds=2,
        nets=(Net(width=8),),
        training=Training(epochs=6, batch=32),
        arms=("linear", "adaptive"),
        n_train=600,
        n_probe=200,
        n_test=597,
        n_curve=300,
    ),
    "cpu": FreezeTraining(
        nets=(Net(width=16),),
        training=Training(epochs=6),
        arms=tuple(ARMS),
        n_train=20_000,
        n_probe=500,
        n_test=10_000,
        n_curve=2000,
    ),
    "full": FreezeTraining(
        seeds=10,
        nets=(Net(width=64), Net(kind="residual", width=16)),
        training=Training(epochs=100, translate=4),
        arms=tuple(ARMS),
        n_train=49_000,
        n_probe=1000,
        n_test=10_000,
        n_curve=10_000,
    ),
}
ITEMS = (10,)


def run(study: Study) -> Outcome:
    """Train each arm of each seed, one after the other, so that arms of a seed are timed beside each other."""
    settings: FreezeTraining = study.settings
    images = study.images(settings.n_train + settings.n_probe, settings.n_test)
    figures, findings = {}, []
    for spec in settings.nets:
        found = {arm: [] for arm in (BASELINE, *settings.arms, SHORT)}
        for seed in study.seeds:
            for arm in found:
                found[arm].append(_record(study, images, spec, arm, seed))
        figures["" if spec is settings.nets[0] else spec.kind] = draw(found)
        findings += judged(found, spec.kind)
    return Outcome(figures, findings)


def _record(study: Study, images: Images, spec: Net, arm: str, seed: int) -> dict[str, Any]:
    settings: FreezeTraining = study.settings
    training = settings.training
    if arm == SHORT:
        training = replace(training, epochs=max(1, training.epochs // 2))
    config = {"net": plain(spec), "training": plain(training), "arm": arm, "seed": seed, "data": images.config}
    config |= {name: getattr(settings, name) for name in ("n_train", "n_probe", "n_test", "n_curve")}

    def make() -> dict[str, Any]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = spec.build(images.shape, len(images.classes)).to(study.device)
        return train(net, images, settings, training, ARMS.get(arm), seed)

    record = study.analysis("arm", config, make)
    study.say(f"{spec.kind}, seed {seed}, {arm}: {record['seconds']:.1f} s, accuracy {record['accuracies'][-1]:.3f}")
    return record


def train(
    net: nn.Module,
    images: Images,
    settings: FreezeTraining,
    training: Training,
    arm: Callable[[Tensor, int], dict[str, Any]] | None,
    seed: int,
) -> dict[str, Any]:
    """Train a net; give its accuracy by epoch, the seconds it took, and the share of operations that freezing saved."""
    n, n_curve = settings.n_train, settings.n_curve
    total = training.epochs * -(-n // training.batch)
    optimizer = torch.optim.Adam(net.parameters(), lr=training.learning_rate)
    steps = [round(fraction * total) for fraction in training.decay_at]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, steps)
    options = arm(images.train[n:], len(svcca.freeze.find_blocks(net))) if arm else None
    freezer = svcca.FreezeTraining(net, optimizer, total_steps=total, **options) if options else None
    order = torch.Generator().manual_seed(seed)
    # Without a GPU the processor's own time: other work on the machine does not lengthen it.
    clock = perf_counter if images.train.is_cuda else process_time
    seconds, accuracies = 0.0, []
    for _ in range(training.epochs):
        net.train()
        start = clock()
        shifts = translations(n, training.translate, order)
        for drawn in torch.randperm(n, generator=order).split(training.batch):
            part = drawn.to(images.train.device)
            inputs = translated(images.train[part], shifts[:, drawn], training.translate)
            optimizer.zero_grad()
            classification_loss(net, (inputs, images.train_labels[part])).backward()
            optimizer.step()
            scheduler.step()
            if freezer is not None:
                freezer.step()
        if images.train.is_cuda:
            torch.cuda.synchronize()
        seconds += clock() - start
        accuracies.append(accuracy(net.eval(), images.test[:n_curve], images.test_labels[:n_curve]))
    accuracies[-1] = accuracy(net, images.test, images.test_labels)
    record: dict[str, Any] = {"seconds": seconds, "accuracies": accuracies, "flops_saved": 0.0, "frozen": {}}
    if freezer is not None:
        summary = freezer.summary()
        record["flops_saved"] = summary.share_of_flops_saved
        record["frozen"] = {event.block: event.step / total for event in summary.events}
    return record


def operations_saved(records: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> list[float]:
    """Return the share of the baseline's operations saved in the same seed, by freezing or by fewer epochs."""
    spent = [len(record["accuracies"]) * (1 - record["flops_saved"]) for record in records]
    return [1 - one / len(base["accuracies"]) for one, base in zip(spent, baseline, strict=True)]


def lost_or_won(records: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> list[float]:
    """Return the points of accuracy at the end, less those of the baseline of the same seed."""
    return [100 * (one["accuracies"][-1] - base["accuracies"][-1]) for one, base in zip(records, baseline, strict=True)]


def time_saved(records: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> list[float]:
    """Return the share of the baseline's seconds saved in the same seed."""
    return [1 - one["seconds"] / base["seconds"] for one, base in zip(records, baseline, strict=True)]


def judged(found: dict[str, list[dict[str, Any]]], kind: str) -> list[Finding]:
    """Judge what linear freezing saves, and for each arm whether accuracy is as good as without freezing."""
    linear = found["linear"]
    findings = [
        judge(
            f"Freezing layers linearly saves compute ({kind} net).",
            "share of the operations of training that the linear schedule saves",
            operations_saved(linear, found[BASELINE]),
            above=0.25,
            limits=(-np.inf, 1),
        ),
        judge(
            f"Freezing layers linearly saves time ({kind} net).",
            "share of the time of training (without a GPU the processor's own) that the linear schedule saves",
            time_saved(linear, found[BASELINE]),
            above=0.0,
            limits=(-np.inf, 1),
        ),
    ]
    return findings + [
        judge(
            f"Test accuracy is as good as without freezing: {arm} ({kind} net).",
            "points of test accuracy at the end, less those without freezing in the same seed",
            lost_or_won(records, found[BASELINE]),
            above=-0.5,
            limits=(-100, 100),
        )
        for arm, records in found.items()
        if arm not in (BASELINE, SHORT)
    ]


def draw(found: dict[str, list[dict[str, Any]]]) -> Figure:
    """Draw accuracy over training, and what each arm lost and saved, seed by seed."""
    figure = new_figure(9, 3.8)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    for place, (arm, records) in enumerate(found.items()):
        style = {"color": "0.5" if arm == SHORT else f"C{place}"}
        curves = np.array([record["accuracies"] for record in records])
        epochs = np.arange(1, curves.shape[1] + 1)
        band(left, epochs, curves, linestyle=":" if arm == SHORT else "-", label=arm, **style)
        _dots(middle, place, lost_or_won(records, found[BASELINE]), **style)
        _dots(right, place, [100 * share for share in operations_saved(records, found[BASELINE])], **style)
        _dots(
            right, place + 0.25, [100 * share for share in time_saved(records, found[BASELINE])], hollow=True, **style
        )
    left.set(xlabel="epoch", ylabel="test accuracy")
    left.legend(frameon=False, fontsize=8)
    middle.axvline(0, color="black", linewidth=0.6, zorder=0)
    middle.axvline(-0.5, color="black", linewidth=0.6, linestyle=":", zorder=0)
    middle.set_yticks(range(len(found)), [arm.replace(", ", ",\n") for arm in found], fontsize=8)
    middle.set_xlabel("points of accuracy,\nless those without freezing")
    right.set_yticks(range(len(found)), [])
    right.set(xlabel="saved, %: operations (filled),\ntime (open)", xlim=(min(0, right.get_xlim()[0]), None))
    for ax in (left, middle, right):
        tidy(ax)
    for ax in (middle, right):
        ax.set_ylim(len(found) - 0.4, -0.6)
    return figure


def _dots(ax: Axes, place: float, values: list[float], color: str, hollow: bool = False) -> None:
    """Draw one point per seed, and the mean with its 95% interval."""
    ax.plot(
        values, [place] * len(values), "o", color=color, markersize=4, alpha=0.6, fillstyle="none" if hollow else None
    )
    half = half_width(values)
    if np.isfinite(half) and not hollow:
        ax.errorbar(np.mean(values), place, xerr=half, color=color, marker="|", markersize=9, linewidth=1.2)
