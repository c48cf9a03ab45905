"""Compare two seeds of the paper's conv net, a quarter as wide and trained briefly on CIFAR-10, layer by layer.

python examples/cifar10_two_seeds.py FOLDER [EPOCHS [N_TRAIN]]    # FOLDER holds train-*.parquet and test-*.parquet
"""

import io
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy

import svcca


def load(folder, split, n):
    rows = pq.read_table(next(Path(folder).glob(f"{split}-*.parquet"))).slice(0, n).to_pydict()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB")) for image in rows["img"]])
    return torch.tensor(pixels).permute(0, 3, 1, 2) / 127.5 - 1, torch.tensor(rows["label"])


def paper_net(w=16):  # w = 64 is the paper's
    net = OrderedDict(conv1=nn.Conv2d(3, w, 3, padding=1), relu1=nn.ReLU(), conv2=nn.Conv2d(w, w, 3, padding=1))
    net |= OrderedDict(relu2=nn.ReLU(), bn1=nn.BatchNorm2d(w), pool1=nn.MaxPool2d(2))
    for name in ("3", "4", "5"):
        net |= {"conv" + name: nn.Conv2d(w, w, 3, padding=1), "relu" + name: nn.ReLU()}
    net |= OrderedDict(bn2=nn.BatchNorm2d(w), pool2=nn.MaxPool2d(2), flat=nn.Flatten())
    net |= OrderedDict(fc1=nn.Linear(64 * w, 8 * w), relu6=nn.ReLU(), bn3=nn.BatchNorm1d(8 * w))
    net |= OrderedDict(
        fc2=nn.Linear(8 * w, 4 * w), relu7=nn.ReLU(), bn4=nn.BatchNorm1d(4 * w), out=nn.Linear(4 * w, 10)
    )
    return nn.Sequential(net)


def train(seed, images, labels, epochs):
    torch.manual_seed(seed)
    net = paper_net()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(128):
            optimizer.zero_grad()
            cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
    return net.eval()


if __name__ == "__main__":
    folder, epochs, n_train = (*sys.argv[1:], *("", "4", "20000")[len(sys.argv) - 1 :])
    images, labels = load(folder, "train", int(n_train))
    nets = [train(seed, images, labels, int(epochs)) for seed in (0, 1)]
    matrix = svcca.compare(*nets, load(folder, "test", 5000)[0], layers=["!relu*", "!flat"])
    print(matrix.to_frame().round(2).to_string())
    print("Wrote", matrix.report("cifar10_two_seeds.html"))
    assert matrix.values[0, 0] > matrix.values[0, -1], "the first layers agree more than the first and the last"
