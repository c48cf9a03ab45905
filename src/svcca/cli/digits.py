"""The demo's networks: two small convolutional nets from two seeds, trained on scikit-learn's digits and compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from svcca.compare.pairs import compare
from svcca.compare.result import SimilarityMatrix
from svcca.progress import track

N_TRAIN = 1200
EPOCHS = 20
BATCH = 64
WIDTH = 32
LEARNING_RATE = 8e-3


class DigitsNet(nn.Module):
    """Four convolutional blocks of 32 channels at full resolution, and a linear layer; 28 thousand weights.

    The maps of all blocks have one size, so that positions line up and each pixel of each image can be a sample.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block1 = _block(1)
        self.block2 = _block(WIDTH)
        self.block3 = _block(WIDTH)
        self.block4 = _block(WIDTH)
        self.out = nn.Linear(WIDTH, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits (n, 10) of images (n, 1, 8, 8)."""
        x = self.block4(self.block3(self.block2(self.block1(images))))
        logits: Tensor = self.out(x.mean(dim=(2, 3)))
        return logits


def _block(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU())


@dataclass(frozen=True, eq=False)
class Digits:
    """Training and test images (n, 1, 8, 8) in [0, 1], and their labels."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def load_digits() -> Digits:
    """Load the 1,797 handwritten digits that ship inside scikit-learn, split by a fixed permutation."""
    from sklearn.datasets import load_digits as bundled

    bunch = bundled()
    order = torch.randperm(len(bunch.images), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(bunch.images, dtype=torch.float32)[order, None] / 16
    labels = torch.tensor(bunch.target)[order]
    return Digits(images[:N_TRAIN], labels[:N_TRAIN], images[N_TRAIN:], labels[N_TRAIN:])


def train(digits: Digits, seed: int, progress: bool | None = None) -> DigitsNet:
    """Train one net with Adam and a one-cycle schedule.

    Args:
        digits: The images and labels.
        seed: Seed of the initial weights and of the order of the images; nothing else is random.
        progress: Whether to show a bar; None shows one on a terminal.

    Returns:
        The net, in evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = DigitsNet()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    steps = EPOCHS * -(-N_TRAIN // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in track(range(EPOCHS), f"Training seed {seed}", progress):
        for batch in torch.split(torch.randperm(N_TRAIN, generator=generator), BATCH):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(digits.train_images[batch]), digits.train_labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            schedule.step()
    return net.eval()


def accuracy(net: nn.Module, digits: Digits) -> float:
    """Compute the share of test digits that a net classifies correctly."""
    with torch.no_grad():
        return float((net(digits.test_images).argmax(dim=1) == digits.test_labels).float().mean())


@dataclass(frozen=True, eq=False)
class DemoResult:
    """The similarities of both nets' blocks, and both nets' test accuracies."""

    matrix: SimilarityMatrix
    accuracies: tuple[float, float]


def run(progress: bool | None = None) -> DemoResult:
    """Train two nets from seeds 0 and 1, and compare all their blocks with every pixel of every digit as a sample."""
    digits = load_digits()
    first, second = (train(digits, seed, progress) for seed in (0, 1))
    images = torch.cat([digits.train_images, digits.test_images])
    matrix = compare(first, second, images, layers="block?", observe="pixels", progress=progress)
    matrix = replace(matrix, row_title="seed 0", column_title="seed 1", command="svcca demo")
    return DemoResult(matrix, (accuracy(first, digits), accuracy(second, digits)))
