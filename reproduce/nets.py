"""The papers' networks, with a width."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def conv_net(width: int = 64) -> nn.Sequential:
    """Build the conv net of Raghu et al. (2017) for images of 32 x 32; theirs has a width of 64."""

    def conv(inputs: int) -> nn.Conv2d:
        return nn.Conv2d(inputs, width, 3, padding=1)

    layers = OrderedDict(conv1=conv(3), relu1=nn.ReLU(), conv2=conv(width), relu2=nn.ReLU())
    layers |= OrderedDict(bn1=nn.BatchNorm2d(width), pool1=nn.MaxPool2d(2))
    for number in (3, 4, 5):
        layers |= {f"conv{number}": conv(width), f"relu{number}": nn.ReLU()}
    layers |= OrderedDict(bn2=nn.BatchNorm2d(width), pool2=nn.MaxPool2d(2), flat=nn.Flatten())
    layers |= OrderedDict(fc1=nn.Linear(64 * width, 8 * width), relu6=nn.ReLU(), bn3=nn.BatchNorm1d(8 * width))
    layers |= OrderedDict(fc2=nn.Linear(8 * width, 4 * width), relu7=nn.ReLU(), bn4=nn.BatchNorm1d(4 * width))
    return nn.Sequential(layers | {"out": nn.Linear(4 * width, 10)})
