"""A folder with what the command is run on."""

import sys

import numpy as np
import pytest
import torch

import reference
import svcca

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x, scale=None):
        x = x if scale is None else x * scale[:, None]
        return self.fc2(torch.tanh(self.fc1(x)))

class Wide(Net):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 9), nn.Linear(9, 3)

ready = Net()

def accuracy(model):
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return -float((model(x) - ready(x)).square().mean())

def loader():
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    return [(part, None) for part in x.split(100)]

def failing():
    raise RuntimeError("a fault in the user's own code")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with two networks' activations in it."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("ab"):
        x = reference.gaussian(9, 400, 5)
        layers = {"conv1": x + reference.gaussian(seed, 400, 5), "head": np.tanh(x[:, :3])}
        svcca.save_activations(tmp_path / f"{name}.npz", layers)
    return tmp_path


@pytest.fixture
def nets(here):
    """The name of a module of nets there, with weights of two seeds and inputs; it is forgotten afterwards."""
    name = f"nets_{here.name.replace('-', '_')}"
    (here / f"{name}.py").write_text(NETS)
    sys.path.insert(0, str(here))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)  # of the model that it holds, whatever tests ran before
            module = __import__(name)
    finally:
        sys.path.remove(str(here))
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            torch.save(module.Net().state_dict(), here / f"{seed}.pt")
    np.save(here / "x.npy", reference.gaussian(0, 300, 4).astype(np.float32))
    yield module
    del sys.modules[name]
