"""Name the modules behind the layers of the papers' plots, and compute their depths."""

from __future__ import annotations

from typing import Any

import numpy as np

# A convolution averaged over positions is a linear map of the mean colours, whatever its weights; and batch norm acts
# on what leaves the ReLU. So a convolutional or fully connected layer is what leaves its ReLU.
CONV_HIDDEN = {
    "relu1": "conv1",
    "relu2": "conv2",
    "relu3": "conv3",
    "relu4": "conv4",
    "relu5": "conv5",
    "relu6": "fc1",
    "relu7": "fc2",
}
"""Hidden layers of the conv net that have weights, in order: the module, and its name in the papers."""
CONV_PLOTTED = ("relu1", "relu2", "bn1", "pool1", "relu3", "relu4", "relu5")
CONV_PLOTTED += ("bn2", "pool2", "relu6", "bn3", "relu7", "bn4", "out")
"""The fourteen layers of the papers' plots of the conv net."""


def residual_hidden(blocks: int) -> dict[str, str]:
    """Return the residual net's hidden layers for so many blocks a group: the first, each block, and fc."""
    names = [f"block{number + 1}" for number in range(3 * blocks)]
    return {"relu1": "conv1"} | {name: name for name in names} | {"relu2": "fc"}


def residual_depths(blocks: int) -> np.ndarray[Any, Any]:
    """Return the depth of each as a share of all layers with weights; a block has two, and the output is the last."""
    before = np.array([1, *range(3, 6 * blocks + 2, 2), 6 * blocks + 2])
    return before / (6 * blocks + 3)


def conv_depths() -> np.ndarray[Any, Any]:
    """Return the depth of each hidden layer of the conv net as a share of all layers with weights, output included."""
    return np.arange(1, len(CONV_HIDDEN) + 1) / (len(CONV_HIDDEN) + 1)
