"""Compress a small net on the bundled digits: each layer reads its inputs through the directions that matter.

python examples/compress.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import svcca

digits = load_digits()
IMAGES = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
LABELS = torch.tensor(digits.target)
TRAIN, TEST = slice(0, 1400), slice(1400, None)


def network():
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(
        *conv, nn.Flatten(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def accuracy(net):
    with torch.no_grad():
        return (net(IMAGES[TEST]).argmax(1) == LABELS[TEST]).float().mean().item()


torch.manual_seed(0)
net = network()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for _ in range(12):
    for batch in torch.randperm(1400).split(64):
        optimizer.zero_grad()
        cross_entropy(net(IMAGES[batch]), LABELS[batch]).backward()
        optimizer.step()
net.eval()

n_before, before = sum(p.numel() for p in net.parameters()), accuracy(net)
print(f"uncompressed: {n_before:,} parameters, accuracy {before:.3f}")
lost = {}
for against in ("logits", "pca", "weights"):
    smaller = svcca.compress(net, IMAGES[TRAIN], layers=["6", "8", "10"], ratio=0.15, against=against)
    lost[against] = before - accuracy(smaller)
    print(f"{against:8}: {sum(p.numel() for p in smaller.parameters()):,} parameters, accuracy {accuracy(smaller):.3f}")

best = svcca.compress(net, IMAGES[TRAIN], max_loss=0.01, evaluate=accuracy)
print(f"at most 0.01 lost: {sum(p.numel() for p in best.parameters()):,} parameters, accuracy {accuracy(best):.3f}")
torch.save(best.state_dict(), "smaller.pt")
again = svcca.load_compressed(network(), "smaller.pt").eval()
assert accuracy(again) == accuracy(best) >= before - 0.01, "it loses at most 0.01, and loading restores it"
assert sum(p.numel() for p in best.parameters()) < n_before / 2, "and it is less than half as large"
assert lost["logits"] <= lost["weights"], "directions from the logits keep more accuracy than the SVD of the weights"
