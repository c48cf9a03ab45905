"""Section 4.4 of Raghu et al. (2017): compress the last layers of a conv net on CIFAR-10, beside the alternatives.

Directions from the logits, from two seeds, PLS and PCA, and the SVD of the weights; over several seeds. Nets that are
trained already are not trained again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import svcca
from reproduce.cifar10 import load
from reproduce.freeze_training import accuracy, interval
from reproduce.nets import conv_net

TEST, MEASURED = 10_000, 10_000
LAYERS = ["fc1", "fc2", "out"]
"""Consumers of the last layers: of pool2, of fc1 and bn3, of fc2 and bn4."""
RATIOS = (0.75, 0.5, 0.35, 0.25, 0.15)
"""Weights of these layers after over weights before."""
SHARE = 0.35
"""Of the inputs of each layer that the paper keeps as directions, whatever that takes in weights."""


def trained(path: Path, seed: int, images: Tensor, labels: Tensor, epochs: int, width: int) -> nn.Sequential:
    """Train a net, or read one that was trained before."""
    net = conv_net(width)
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
        return net.eval()
    torch.manual_seed(seed)
    net = conv_net(width)
    total = epochs * -(-len(images) // 128)
    optimizer = torch.optim.Adam(net.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [total // 2, 3 * total // 4])
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(128):
            optimizer.zero_grad()
            cross_entropy(net(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            scheduler.step()
    temporary = path.with_suffix(".tmp")
    torch.save(net.state_dict(), temporary)
    temporary.replace(path)
    return net.eval()


def split(net: nn.Sequential) -> tuple[nn.Sequential, nn.Sequential]:
    """Cut a net below its first fully connected layer."""
    place = [name for name, _ in net.named_children()].index("fc1")
    return net[:place], net[place:]


def features(body: nn.Module, images: Tensor) -> Tensor:
    """What the layers below, which are not touched, give for each image: computed once for all ways and sizes."""
    with torch.no_grad():
        return torch.cat([body(part) for part in images.split(500)])


def compare(
    nets: tuple[nn.Sequential, nn.Sequential], seed: int, images: Tensor, test: tuple[Tensor, Tensor]
) -> pd.DataFrame:
    """Compress the first net in every way to every size; give accuracy and size, a row each."""
    (body, head), (other_body, other_head) = (split(net) for net in nets)
    seen = TensorDataset(features(body, images), features(other_body, images))
    held_out = (features(body, test[0]), test[1])
    whole, n_body = accuracy(head, held_out), sum(parameter.numel() for parameter in body.parameters())
    ways = {
        "logits": "logits",
        "outputs": "outputs",
        "two seeds": other_head,
        "PLS": "pls",
        "PCA": "pca",
        "weights": "weights",
    }
    wanted: list[dict[str, float]] = [{"ratio": ratio} for ratio in RATIOS]
    rows: list[dict[str, Any]] = []
    for way, against in ways.items():
        for size in [*wanted, {"ranks": SHARE}]:
            smaller = svcca.compress(
                head,
                DataLoader(seen, 1000),
                layers=LAYERS,
                against=against,
                forward=lambda net, batch: net(batch[1] if net is other_head else batch[0]),
                progress=False,
                **size,
            )
            row = {"way": way, "seed": seed, "lost": 100 * (whole - accuracy(smaller, held_out))}
            row |= {"size": " ".join(f"{name} {value}" for name, value in size.items())}
            rows.append(row | {"parameters": n_body + sum(parameter.numel() for parameter in smaller.parameters())})
    return pd.DataFrame(rows).assign(whole=100 * whole)


def draw(found: pd.DataFrame, n_whole: int) -> Figure:
    """Draw points of accuracy lost against the size of the net: mean and range over seeds."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained", dpi=120)
    ax = figure.subplots()
    ratios = found[found["size"].str.startswith("ratio")]
    for number, (way, part) in enumerate(ratios.groupby("way", sort=False)):
        lost = part.groupby("size", sort=False)["lost"].agg(["mean", "min", "max"])
        size = part.groupby("size", sort=False)["parameters"].mean() / n_whole
        ax.plot(size, lost["mean"], color=f"C{number}", marker="o", markersize=3, label=str(way))
        ax.fill_between(size, lost["min"], lost["max"], color=f"C{number}", alpha=0.12, linewidth=0)
    ax.axhline(0, color="grey", linewidth=0.8)
    ax.set(xlabel="parameters, share of the whole net's", ylabel="points of accuracy lost", xlim=(0, None))
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(title="directions from", frameon=False)
    return figure


def main(
    data: Annotated[Path, typer.Option(help="Folder with train-*.parquet and test-*.parquet of CIFAR-10.")],
    out: Annotated[Path, typer.Option(help="Where nets, table and figure go; nets that are there are kept.")],
    seeds: Annotated[int, typer.Option(help="Nets that are compressed; one more is trained for two seeds.")] = 3,
    epochs: int = 8,
    n_train: Annotated[int, typer.Option(help="Training images.")] = 20_000,
    width: Annotated[int, typer.Option(help="Of the net; the paper's is 64.")] = 16,
) -> None:
    """Train, compress in every way, print the table, draw the figure."""
    images, labels = load(data, "train", n_train)
    test = load(data, "test", TEST)
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"conv_net-{seed}-{epochs}-{n_train}-{width}.pt" for seed in range(seeds + 1)]
    nets = [trained(path, seed, images, labels, epochs, width) for seed, path in enumerate(paths)]
    found = pd.concat([compare((nets[i], nets[i + 1]), i, images[:MEASURED], test) for i in range(seeds)])
    found.to_csv(out / "compression.csv", index=False)
    n_whole = sum(parameter.numel() for parameter in nets[0].parameters())
    table = found.groupby(["way", "size"], sort=False)["lost"].agg(lambda lost: interval(np.array(lost) / 100))
    typer.echo(f"{n_whole:,} parameters, accuracy {interval(found.groupby('seed')['whole'].first().to_numpy() / 100)}")
    typer.echo((found.groupby("size", sort=False)["parameters"].mean() / n_whole).round(3).to_string())
    typer.echo(table.unstack("size").to_string())
    draw(found, n_whole).savefig(out / "compression.png")


if __name__ == "__main__":
    typer.run(main)
