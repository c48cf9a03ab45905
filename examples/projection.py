"""Project a layer of a small net, trained on the bundled digits, onto few directions: how many does it need?

python examples/projection.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import svcca
from svcca.project import distributedness

digits = load_digits()
IMAGES = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
LABELS = torch.tensor(digits.target)
N_TRAIN = 1200


def train(seed):
    torch.manual_seed(seed)
    conv = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    net = nn.Sequential(*conv, nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(25):
        for batch in torch.randperm(N_TRAIN).split(64):
            optimizer.zero_grad()
            cross_entropy(net(IMAGES[batch]), LABELS[batch]).backward()
            optimizer.step()
    return net


def accuracy(net):
    with torch.no_grad():
        return (net(IMAGES[N_TRAIN:]).argmax(1) == LABELS[N_TRAIN:]).double().mean().item()


net, other = train(0), train(1)
layer = "4"  # the fully connected layer of 64 units
found = {
    "CCA with another net": svcca.directions(net, IMAGES[:N_TRAIN], layer, against=other),
    "PLS with the logits": svcca.directions(net, IMAGES[:N_TRAIN], layer, against="logits", method="pls"),
}
print(*found.values(), sep="\n")
curve = svcca.projection_curve(net, layer, found, None, accuracy)
curve.plot()[0].savefig("projection_curve.png")
needed = curve.neurons_needed(tolerance=0.01)
print(curve.to_frame().round(3).to_string(), f"accuracy {curve.unprojected:.3f}; within one point from k =", sep="\n")
print(*(f"  {k} {kind}" for kind, k in needed.items()), sep="\n")

parts = distributedness(net, layer, found["PLS with the logits"], [4, 8, 16], [8, 16, 32], accuracy)
parts.plot()[0].savefig("distributedness.png")
print(parts.to_frame().round(3).to_string())
dimensions = svcca.intrinsic_dimensions(net, IMAGES[:N_TRAIN], ["0", "4"], accuracy)
dimensions.plot()[0].savefig("dimensions.png")
print(dimensions.to_frame().to_string())

assert 3 * needed["PLS with the logits"] <= needed["neurons of largest activation"], "far fewer directions than neurons"
assert parts.to_frame().loc[16, 8] < curve.unprojected - 0.1, "and the directions do not sit in a few neurons"
