"""Figure 5 of Raghu et al. (2017): what Freeze Training saves and what it costs, on CIFAR-10, over several seeds.

Each arm trains the same net on the same batches in the same order. A run that is there already is not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import MultiStepLR

import svcca
from reproduce.cifar10 import load
from reproduce.nets import conv_net

BATCH, PROBE, TEST = 128, 500, 10_000
Images = tuple[Tensor, Tensor]

ARMS: dict[str, Callable[[Tensor, int], dict[str, Any] | None]] = {
    "baseline": lambda probe, n_blocks: None,
    "linear": lambda probe, n_blocks: {"schedule": "linear"},
    "linear, second half": lambda probe, n_blocks: {"schedule": [0.5 + 0.5 * i / n_blocks for i in range(1, n_blocks)]},
    "adaptive": lambda probe, n_blocks: {"schedule": svcca.AdaptiveFreezing(probe)},
    "adaptive, cache": lambda probe, n_blocks: {"schedule": svcca.AdaptiveFreezing(probe), "cache": "memory"},
}
"""What is passed to `FreezeTraining`, beside the paper's linear schedule one that leaves the first half alone."""


def train(
    seed: int, arm: str, data: Images, test: Images, probe: Tensor, epochs: int, width: int, decay: bool
) -> dict[str, Any]:
    """Train one net; the record of it."""
    torch.manual_seed(seed)
    net = conv_net(width)
    images, labels = data
    total = epochs * -(-len(images) // BATCH)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    scheduler = MultiStepLR(optimizer, [total // 2, 3 * total // 4] if decay else [])
    options = ARMS[arm](probe, len(svcca.find_blocks(net)))
    freezer = None if options is None else svcca.FreezeTraining(net, optimizer, total_steps=total, **options)
    order = torch.Generator().manual_seed(seed)
    seconds, accuracies = 0.0, []
    for _ in range(epochs):
        net.train()
        start = perf_counter()
        for chosen in torch.randperm(len(images), generator=order).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(net(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            scheduler.step()
            if freezer is not None:
                freezer.step()
        seconds += perf_counter() - start
        accuracies.append(accuracy(net, test))
    record: dict[str, Any] = {"seed": seed, "arm": arm, "seconds": seconds, "accuracies": accuracies}
    if freezer is not None:
        summary = freezer.summary()
        frozen = {event.block: event.step / total for event in summary.events}
        record |= {"flops_saved": summary.share_of_flops_saved, "estimate": summary.share_of_seconds_saved}
        record |= {"frozen": frozen}
    return record


def accuracy(net: nn.Module, test: Images) -> float:
    """Share of the test images that are classified right."""
    net.eval()
    with torch.no_grad():
        right = [(net(x).argmax(1) == y).sum() for x, y in zip(*(part.split(500) for part in test), strict=True)]
    return float(torch.stack(right).sum()) / len(test[0])


def interval(values: np.ndarray[Any, Any]) -> str:
    """Mean and half-width of the 95% interval of the mean over seeds, by Student's t."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return f"{100 * values.mean():.1f} ± {100 * half:.1f}"


def table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Give a row an arm: what it reaches, and its differences from the baseline of the same seed."""
    base = {record["seed"]: record for record in records if record["arm"] == "baseline"}
    rows = []
    for arm in dict.fromkeys(record["arm"] for record in records):
        runs = [record for record in records if record["arm"] == arm]
        final = np.array([run["accuracies"][-1] for run in runs])
        row = {"arm": arm, "seeds": len(runs), "accuracy %": interval(final)}
        if arm != "baseline":
            lost = final - [base[run["seed"]]["accuracies"][-1] for run in runs]
            saved = np.array([1 - run["seconds"] / base[run["seed"]]["seconds"] for run in runs])
            row |= {"against baseline, points": interval(lost), "time saved %": interval(saved)}
            row |= {"operations saved %": interval(np.array([run["flops_saved"] for run in runs]))}
        rows.append(row | {"seconds": f"{np.mean([run['seconds'] for run in runs]):.0f}"})
    return pd.DataFrame(rows).set_index("arm").fillna("")


def draw(records: list[dict[str, Any]]) -> Figure:
    """Draw test accuracy against epoch, and at the end against time: mean and standard deviation over seeds."""
    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=120)
    axes = figure.subplots(1, 2, sharey=True)
    for number, arm in enumerate(dict.fromkeys(record["arm"] for record in records)):
        curves = np.array([record["accuracies"] for record in records if record["arm"] == arm])
        mean, spread = curves.mean(axis=0), curves.std(axis=0, ddof=1) if len(curves) > 1 else 0
        epochs = np.arange(1, len(mean) + 1)
        colour = f"C{number}"
        axes[0].plot(epochs, mean, color=colour, label=arm)
        axes[0].fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        seconds = np.mean([record["seconds"] for record in records if record["arm"] == arm])
        axes[1].plot([0, seconds], [mean[-1]] * 2, color=colour, linewidth=1, alpha=0.5)
        axes[1].errorbar(
            seconds, mean[-1], yerr=np.max(spread[-1:]) if len(curves) > 1 else 0, color=colour, marker="o"
        )
    axes[0].set(xlabel="epoch", ylabel="test accuracy")
    axes[1].set(xlabel="seconds of training", xlim=(0, None), title="at the end")
    axes[0].legend(frameon=False)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def main(
    data: Annotated[Path, typer.Option(help="Folder with train-*.parquet and test-*.parquet of CIFAR-10.")],
    out: Annotated[Path, typer.Option(help="Where records, table and figure go; runs that are there are kept.")],
    seeds: Annotated[int, typer.Option(help="Runs an arm.")] = 5,
    epochs: int = 10,
    n_train: Annotated[int, typer.Option(help="Training images.")] = 20_000,
    width: Annotated[int, typer.Option(help="Of the net; the paper's is 64.")] = 16,
    decay: Annotated[bool, typer.Option(help="Divide the learning rate by 10 at 1/2 and at 3/4 of training.")] = True,
) -> None:
    """Train every arm with every seed, seed by seed; print the table, draw the figure."""
    images, labels = load(data, "train", n_train + PROBE)
    test = load(data, "test", TEST)
    out.mkdir(parents=True, exist_ok=True)
    records = []
    for seed in range(seeds):
        for arm in ARMS:
            rate = "decay" if decay else "constant"
            words = arm.replace(",", "").replace(" ", "_")
            path = out / f"{words}-{seed}-{epochs}-{n_train}-{width}-{rate}.json"
            if not path.exists():
                training, probe = (images[:n_train], labels[:n_train]), images[n_train:]
                record = train(seed, arm, training, test, probe, epochs, width, decay)
                temporary = path.with_suffix(".tmp")
                temporary.write_text(json.dumps(record))
                temporary.replace(path)
            records.append(json.loads(path.read_text()))
            shown = {key: value for key, value in records[-1].items() if key != "accuracies"}
            typer.echo(f"{records[-1]['accuracies'][-1]:.4f} {shown}")
    typer.echo(table(records).to_string())
    draw(records).savefig(out / "freeze_training.png")


if __name__ == "__main__":
    typer.run(main)
