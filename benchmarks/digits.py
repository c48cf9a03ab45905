"""Train a small network on scikit-learn's digits, for layers with realistic spectra."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F


def train(n_samples: int, width: int, depth: int, n_checkpoints: int, epochs_between: int) -> list[dict[str, Tensor]]:
    """Train an MLP (Adam) and record every hidden layer at each checkpoint, the last one after training.

    Args:
        n_samples: The number of rows: the 1,797 digits, repeated and each shifted by up to one pixel.
        width: The number of units of each hidden layer.
        depth: The number of hidden layers.
        n_checkpoints: The number of recordings.
        epochs_between: The number of epochs before each recording.

    Returns:
        For each checkpoint, layer name -> (n_samples, width) float32, after the ReLU.
    """
    inputs, labels = _shifted_digits(n_samples)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden = nn.ModuleList(nn.Linear(64 if i == 0 else width, width) for i in range(depth))
        head = nn.Linear(width, 10)
    optimizer = torch.optim.Adam([*hidden.parameters(), *head.parameters()], lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    checkpoints = []
    for _ in range(n_checkpoints):
        for _ in range(epochs_between):
            for batch in torch.randperm(n_samples, generator=generator).split(128):
                *_, last = _activations(hidden, inputs[batch])
                optimizer.zero_grad()
                F.cross_entropy(head(last), labels[batch]).backward()
                optimizer.step()
        with torch.no_grad():
            checkpoints.append({f"layer {i}": x for i, x in enumerate(_activations(hidden, inputs))})
    return checkpoints


def _activations(hidden: nn.ModuleList, x: Tensor) -> Iterator[Tensor]:
    for layer in hidden:
        x = F.relu(layer(x))
        yield x


def _shifted_digits(n_samples: int) -> tuple[Tensor, Tensor]:
    bunch = load_digits()
    generator = torch.Generator().manual_seed(0)
    chosen = torch.arange(n_samples) % len(bunch.images)
    images = torch.tensor(bunch.images, dtype=torch.float32)[chosen] / 16
    shifts = torch.randint(-1, 2, (n_samples, 2), generator=generator).tolist()
    moved = [image.roll(shift, dims=(0, 1)) for image, shift in zip(images, shifts, strict=True)]
    return torch.stack(moved).flatten(1), torch.tensor(bunch.target)[chosen]
