"""Where in a network, and when, does each class become readable? A small net on the bundled digits while it trains.

python examples/class_sensitivity.py
"""

import copy
import warnings

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

import svcca

warnings.simplefilter("ignore", svcca.SvccaWarning)
digits = load_digits()
IMAGES = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
LABELS = torch.tensor(digits.target)

torch.manual_seed(0)
net = nn.Sequential(
    nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()),
    nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    nn.Sequential(nn.Flatten(), nn.Linear(128, 32), nn.ReLU()),
    nn.Linear(32, 10),
)

optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
states = [copy.deepcopy(net.state_dict())]
for _ in range(6):
    for batch in torch.randperm(len(IMAGES)).split(64):
        optimizer.zero_grad()
        cross_entropy(net(IMAGES[batch]), LABELS[batch]).backward()
        optimizer.step()
    states.append(copy.deepcopy(net.state_dict()))

targets = one_hot(LABELS).float()  # the labels themselves: the same question at every epoch
epochs = range(len(states))
dynamics = svcca.class_dynamics(net, states, IMAGES, layers=["?"], targets=targets, steps=epochs, progress=False)
before, after = dynamics.at(0), dynamics.at(6)
table = after.to_frame()["beyond chance"].unstack()
print(table.round(2).to_string())
print("share of each label beyond chance, mean:", before.corrected.mean(axis=1), "->", after.corrected.mean(axis=1))
after.plot()[0].savefig("class_sensitivity.png")
dynamics.plot()[0].savefig("class_dynamics.png")
assert after.corrected[-2].mean() > after.corrected[0].mean(), "the labels are more readable near the output"
assert after.corrected[-2].mean() > before.corrected[-2].mean(), "and more so after training"
