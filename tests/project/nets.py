"""A net of every layer type that can be projected, its data, and slow versions of what a layer's rows are."""

import numpy as np
import torch
from torch import nn


class Every(nn.Module):
    """A conv layer, a fully connected one, a layer of tokens, and one that returns a tuple."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(2, 5, 3, padding=1)
        self.tokens = nn.Linear(5, 4)
        self.recurrent = nn.LSTM(4, 4, batch_first=True)
        self.fc = nn.Linear(64, 7)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(7)
        self.out = nn.Linear(7, 3)

    def forward(self, x):
        maps = torch.relu(self.conv(x))
        tokens = torch.tanh(self.tokens(maps.flatten(2).mT))
        states, _ = self.recurrent(tokens)
        return self.out(self.drop(self.norm(torch.relu(self.fc(states.flatten(1))))))


def net(seed=0, dtype=torch.float32):
    model = Every(seed).to(dtype)
    with torch.no_grad():
        model.norm.running_mean.normal_()
    return model


def inputs(n=150, seed=1):
    return torch.randn(n, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


WIDTHS = {"conv": 5, "tokens": 4, "recurrent": 4, "fc": 7, "out": 3}


def outputs(model, x):
    """Each layer's output by hand, in evaluation mode, as NumPy float64."""
    model = model.eval()
    with torch.no_grad():
        conv = model.conv(x)
        tokens = model.tokens(torch.relu(conv).flatten(2).mT)
        recurrent = model.recurrent(torch.tanh(tokens))[0]
        fc = model.fc(recurrent.flatten(1))
        out = model.out(model.norm(torch.relu(fc)))
    found = {"conv": conv, "tokens": tokens, "recurrent": recurrent, "fc": fc, "out": out}
    model.train()
    return {name: value.double().numpy() for name, value in found.items()}


def rows(output, rule):
    """(n_rows, n_features), one row after the other."""
    if rule == "flatten":
        return np.stack([sample.ravel() for sample in output])
    if rule == "tokens":
        return np.array([token for sample in output for token in sample])
    return np.array([sample[:, i, j] for sample in output for i in range(4) for j in range(4)])


def canonical(x, y, rank=None):
    """Canonical variates of x with y by QR and SVD; both whole, or x on its first principal directions."""
    x, y = x - x.mean(0), y - y.mean(0)
    if rank is not None:
        u, s, _ = np.linalg.svd(x, full_matrices=False)
        x = u[:, :rank] * s[:rank]
    qx, qy = np.linalg.qr(x)[0], np.linalg.qr(y)[0]
    u, s, _ = np.linalg.svd(qx.T @ qy)
    return qx @ u[:, : len(s)], s


def least_squares(x, coordinates):
    """What coordinates tell of centred x by least squares, with the mean put back."""
    centred = x - x.mean(0)
    return coordinates @ np.linalg.lstsq(coordinates, centred, rcond=None)[0] + x.mean(0)
