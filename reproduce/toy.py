"""The toy regression of Raghu et al. (2017): one input, four simple functions of it, four hidden layers."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import svcca
from reproduce.cache import plain
from reproduce.study import Study, Trained
from reproduce.training import Training

LAST_HIDDEN = "relu4"
GRID = torch.linspace(-1, 1, 401)[:, None]
"""Inputs on which what was found on others is judged and drawn."""


def targets(x: Tensor) -> Tensor:
    """Return the four functions of the input, (n, 1) -> (n, 4), each between -1 and 1."""
    return torch.cat([torch.sin(2 * math.pi * x), 2 * x**2 - 1, 2 * x.abs() - 1, torch.cos(3 * math.pi * x)], 1)


def toy_net(width: int) -> nn.Sequential:
    """Build the net with fresh weights from torch's global generator."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, 5):
        layers[f"fc{number}"] = nn.Linear(1 if number == 1 else width, width)
        layers[f"relu{number}"] = nn.ReLU()
    return nn.Sequential(layers | {"out": nn.Linear(width, 4)})


def train_toy(study: Study, width: int, n_train: int, training: Training, seed: int) -> Trained:
    """Train the net with a seed, or take it from the cache; all nets see the same inputs."""
    x = random_inputs(n_train, seed=0).to(study.device)
    y = targets(x)

    def batches(generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(x), generator=generator).to(x.device)
        return [(x[part], y[part]) for part in order.split(training.batch)]

    def facts(net: nn.Module) -> dict[str, Any]:
        with torch.no_grad():
            return {"test_loss": float(mse_loss(net(GRID.to(x.device)), targets(GRID).to(x.device)))}

    config = {"net": ["toy", width], "n_train": n_train, "training": plain(training), "seed": seed}
    name = f"toy-{width}"
    return study.train(name, config, lambda: toy_net(width).to(study.device), batches, _loss, training, seed, facts)


def random_inputs(n: int, seed: int) -> Tensor:
    """Draw inputs (n, 1), uniform from -1 to 1."""
    return 2 * torch.rand(n, 1, generator=torch.Generator().manual_seed(seed)) - 1


def rows_of(net: nn.Module, inputs: Tensor) -> npt.NDArray[np.float64]:
    """Return the last hidden layer, (n, width)."""
    return svcca.activations(net, inputs, layers=LAST_HIDDEN)[LAST_HIDDEN].double().numpy()


def output_of(net: nn.Module) -> npt.NDArray[np.float64]:
    """Return the outputs on the grid, (n, 4)."""
    with torch.no_grad():
        return net(GRID).double().numpy()


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return mse_loss(net(batch[0]), batch[1])
