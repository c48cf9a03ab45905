"""The papers' networks for images, with a width, for images of any shape."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, relu

Shape = tuple[int, int, int]


def conv_net(width: int = 64, shape: Shape = (3, 32, 32), n_classes: int = 10) -> nn.Sequential:
    """Build the conv net of Raghu et al. (2017); theirs has a width of 64 and sees images of (3, 32, 32)."""

    def conv(inputs: int) -> nn.Conv2d:
        return nn.Conv2d(inputs, width, 3, padding=1)

    n_flat = width * (shape[1] // 4) * (shape[2] // 4)
    layers = OrderedDict(conv1=conv(shape[0]), relu1=nn.ReLU(), conv2=conv(width), relu2=nn.ReLU())
    layers |= OrderedDict(bn1=nn.BatchNorm2d(width), pool1=nn.MaxPool2d(2))
    for number in (3, 4, 5):
        layers |= {f"conv{number}": conv(width), f"relu{number}": nn.ReLU()}
    layers |= OrderedDict(bn2=nn.BatchNorm2d(width), pool2=nn.MaxPool2d(2), flat=nn.Flatten())
    layers |= OrderedDict(fc1=nn.Linear(n_flat, 8 * width), relu6=nn.ReLU(), bn3=nn.BatchNorm1d(8 * width))
    layers |= OrderedDict(fc2=nn.Linear(8 * width, 4 * width), relu7=nn.ReLU(), bn4=nn.BatchNorm1d(4 * width))
    return nn.Sequential(layers | {"out": nn.Linear(4 * width, n_classes)})


class ResidualBlock(nn.Sequential):
    """Two convolutions beside a shortcut without weights (He et al. 2016): every second pixel, zeros for channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Add the shortcut to the output of the layers."""
        y = super().forward(x)
        if y.shape == x.shape:
            return relu(y + x)
        return relu(y + pad(interpolate(x, y.shape[2:]), (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])))


def residual_net(width: int = 16, shape: Shape = (3, 32, 32), n_classes: int = 10, blocks: int = 5) -> nn.Sequential:
    """Build a residual net: conv, three groups of residual blocks (w, 2 w, 4 w channels), bn, fc, out.

    Raghu et al. (2017) have three groups of ten conv/bn/relu: five blocks of two convolutions.
    """

    def block(inputs: int, outputs: int, stride: int) -> ResidualBlock:
        first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        return ResidualBlock(first, nn.BatchNorm2d(outputs), nn.ReLU(), second, nn.BatchNorm2d(outputs))

    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(shape[0], width, 3, padding=1), relu1=nn.ReLU())
    inputs = width
    for group in range(3):
        for number in range(blocks):
            outputs = width * 2**group
            layers[f"block{group * blocks + number + 1}"] = block(inputs, outputs, stride=outputs // inputs)
            inputs = outputs
    layers |= OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), bn=nn.BatchNorm1d(inputs))
    layers |= OrderedDict(fc=nn.Linear(inputs, inputs), relu2=nn.ReLU())
    return nn.Sequential(layers | {"out": nn.Linear(inputs, n_classes)})


@dataclass(frozen=True, kw_only=True)
class Net:
    """Which image net: what a trained one is keyed by.

    Attributes:
        kind: "conv" or "residual".
        width: The number of channels of its first layer.
        blocks: The number of blocks in each group of a residual net.
    """

    kind: str = "conv"
    width: int = 16
    blocks: int = 5

    def build(self, shape: Shape, n_classes: int) -> nn.Sequential:
        """Build it with fresh weights from torch's global generator."""
        if self.kind == "residual":
            return residual_net(self.width, shape, n_classes, self.blocks)
        return conv_net(self.width, shape, n_classes)
