"""A small net, data that it can learn, and a training loop: what the tests of Freeze Training share."""

import copy

import torch
from torch import nn
from torch.nn.functional import cross_entropy

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.1),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, weight_decay=0.1),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
}


def conv_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(96, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


BLOCKS = ("0", "4", "9", "11")


def data(n=96, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 2, 8, 8, generator=generator)
    return images, torch.randint(0, 3, (n,), generator=generator)


def batches(n_steps, size=32, seed=2):
    """Batches of shuffled epochs, without end but for the number of steps."""
    images, labels = data()
    generator = torch.Generator().manual_seed(seed)
    given = 0
    while True:
        for chosen in torch.randperm(len(images), generator=generator).split(size):
            if given == n_steps:
                return
            given += 1
            yield images[chosen], labels[chosen]


def train(model, optimizer, freezer, pairs, seed=3):
    """Train on each pair, in training mode; dropout is seeded anew at each step."""
    for number, (images, labels) in enumerate(pairs):
        model.train()
        torch.manual_seed(1000 * seed + number)
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        freezer.step()


def state_of(model):
    return copy.deepcopy(model.state_dict())


def differing(before, after):
    """Names of what is not the same to the last bit."""
    return {name for name in before if not torch.equal(before[name], after[name])}
