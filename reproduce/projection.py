"""Figures 2a and 2b of Raghu et al. (2017): accuracy of a conv net with a layer projected on few directions, CIFAR-10.

Every net is taken with the next one as its second seed. Directions come from training images, accuracy from test
images. A net or a record that is there already is not made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import MultiStepLR

import svcca
from reproduce.cifar10 import load
from reproduce.nets import conv_net

BATCH, TEST = 128, 5_000
LAYERS = ("fc1", "bn3", "fc2")
"""The paper does not say whether fc1 is meant before its ReLU or after it: bn3 is what fc2 sees of it."""
SHARES = (0.1, 0.2, 0.4)
"""Of the units that are kept in figure 2b; the paper keeps 50 and 100 of 512."""

Images = tuple[Tensor, Tensor]


def trained(seed: int, path: Path, data: Images, epochs: int, width: int) -> nn.Sequential:
    """Give a net as it was trained before, or train it: Adam, the learning rate divided by 10 at 1/2 and 3/4."""
    torch.manual_seed(seed)
    net = conv_net(width)
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
        return net.eval()
    images, labels = data
    total = epochs * -(-len(images) // BATCH)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    scheduler = MultiStepLR(optimizer, [total // 2, 3 * total // 4])
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=order).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(net(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            scheduler.step()
    torch.save(net.state_dict(), path)
    return net.eval()


def accuracy_from(layer: str, net: nn.Sequential, test: Images) -> Callable[[nn.Module], float]:
    """Give evaluate(net) that runs it from this layer on; what lies below does not change, and is run once."""
    below = [name for name, _ in net.named_children()].index(layer)
    with torch.no_grad():
        inputs = torch.cat([net[:below](x) for x in test[0].split(500)])

    def accuracy(net: nn.Module) -> float:
        assert isinstance(net, nn.Sequential)
        with torch.no_grad():
            return float((net[below:](inputs).argmax(1) == test[1]).double().mean())

    return accuracy


def measure(net: nn.Sequential, other: nn.Module, images: Tensor, test: Images) -> dict[str, Any]:
    """Draw both figures' lines for one net."""
    record: dict[str, Any] = {}
    for layer in LAYERS:
        evaluate = accuracy_from(layer, net, test)
        kinds = {
            "CCA with another net": svcca.directions(net, images, layer, against=other),
            "CCA with the logits": svcca.directions(net, images, layer, against="logits"),
            "PLS with the logits": svcca.directions(net, images, layer, against="logits", method="pls"),
        }
        width = kinds["CCA with the logits"].n_features
        ks = [*range(1, width + 1, -(-width // 128)), width]
        curve = svcca.projection_curve(net, layer, kinds, ks, evaluate)
        record[layer] = {
            "n_features": width,
            "ks": curve.ks.tolist(),
            "unprojected": curve.unprojected,
            "curves": dict(zip(curve.kinds, curve.values.tolist(), strict=True)),
            "needed": curve.neurons_needed(0.01),
        }
        if layer == LAYERS[0]:
            units = [round(share * width) for share in SHARES]
            found = svcca.distributedness(net, layer, kinds["CCA with another net"], curve.ks, units, evaluate)
            lines = {str(m): values.tolist() for m, values in zip(units, found.values, strict=True)}
            record[layer]["distributedness"] = lines | {str(width): found.all_units.tolist()}
    return record


def table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Give a row a layer and kind: how many directions keep accuracy within one point, and the accuracy at a tenth."""
    rows = []
    for layer in LAYERS:
        for kind in records[0][layer]["curves"]:
            needed = [record[layer]["needed"][kind] for record in records]
            row = {"layer": layer, "kind": kind, "needed": ", ".join(map(str, needed)), "median": np.median(needed)}
            row["share"] = np.median(needed) / records[0][layer]["n_features"]
            rows.append(row)
    return pd.DataFrame(rows).set_index(["layer", "kind"])


def draw(records: list[dict[str, Any]]) -> Figure:
    """Draw figure 2a for each layer and figure 2b for the first: mean and standard deviation over nets."""
    figure = Figure(figsize=(9, 7.4), layout="constrained", dpi=110)
    axes = figure.subplots(2, 2, sharey=True).ravel()
    grey = {"principal directions", "random directions", "neurons of largest activation", "random neurons"}
    for ax, layer in zip(axes, LAYERS, strict=False):
        for number, kind in enumerate(records[0][layer]["curves"]):
            shade = {"color": "0.35" if number % 2 else "0.6"} if kind in grey else {"color": f"C{number}"}
            style = {"linestyle": ":" if "neurons" in kind else "-", "label": kind} | shade
            _line(ax, records, layer, [record[layer]["curves"][kind] for record in records], style)
        ax.set_title(f"{layer}, {records[0][layer]['n_features']} units", loc="left", fontsize=10)
    first = LAYERS[0]
    for number, m in enumerate(records[0][first]["distributedness"]):
        style = {"color": f"C{number + 3}", "label": f"{m} units kept"}
        _line(axes[-1], records, first, [record[first]["distributedness"][m] for record in records], style)
    axes[-1].set_title(f"{first}, CCA with another net, then few units", loc="left", fontsize=10)
    for ax in axes[::2]:
        ax.set_ylabel("test accuracy")
    for ax in axes:
        ax.set_xlabel("directions kept")
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].legend(fontsize=8, frameon=False, loc=(0.02, 0.66))
    figure.legend(handles=axes[0].get_legend_handles_labels()[0], loc="outside lower center", ncols=3, frameon=False)
    return figure


def _line(ax: Any, records: list[dict[str, Any]], layer: str, lines: list[list[float]], style: dict[str, Any]) -> None:
    values, ks = np.array(lines), records[0][layer]["ks"]
    ax.plot(ks, values.mean(axis=0), linewidth=1.4, **style)
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        low, high = values.mean(axis=0) - spread, values.mean(axis=0) + spread
        ax.fill_between(ks, low, high, color=style["color"], alpha=0.12, linewidth=0)
    ax.axhline(np.mean([record[layer]["unprojected"] for record in records]), color="black", linewidth=0.6, zorder=0)


def main(
    data: Annotated[Path, typer.Option(help="Folder with train-*.parquet and test-*.parquet of CIFAR-10.")],
    out: Annotated[Path, typer.Option(help="Where nets, records, table and figure go; what is there is kept.")],
    seeds: Annotated[int, typer.Option(help="Nets; each is taken with the next one as its second seed.")] = 2,
    epochs: int = 8,
    n_train: Annotated[int, typer.Option(help="Training images.")] = 20_000,
    n_directions: Annotated[int, typer.Option(help="Training images that directions are found on.")] = 10_000,
    width: Annotated[int, typer.Option(help="Of the net; the paper's is 64.")] = 16,
) -> None:
    """Train the nets, project, print how many directions are needed, draw the figure."""
    images, labels = load(data, "train", n_train)
    test = load(data, "test", TEST)
    out.mkdir(parents=True, exist_ok=True)
    name = f"{epochs}-{n_train}-{width}"
    nets = [trained(s, out / f"conv-{s}-{name}.pt", (images, labels), epochs, width) for s in range(seeds)]
    records = []
    for seed, net in enumerate(nets):
        other = (seed + 1) % seeds
        path = out / f"projection-{seed}-{other}-{name}-{n_directions}.json"
        if not path.exists():
            record = measure(net, nets[other], images[:n_directions], test)
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(record))
            temporary.replace(path)
        records.append(json.loads(path.read_text()))
        typer.echo(f"net {seed}: accuracy {records[-1][LAYERS[0]]['unprojected']:.4f}")
    typer.echo(table(records).to_string())
    draw(records).savefig(out / "projection.png")


if __name__ == "__main__":
    typer.run(main)
