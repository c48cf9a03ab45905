"""Which layers converge first on CIFAR-10? In a small residual net, or in the paper's conv net a quarter as wide.

python examples/cifar10_learning_dynamics.py FOLDER [residual|conv [EPOCHS [N_TRAIN [SEED]]]]  # holds the parquet file
"""

import io
import sys
from collections import OrderedDict
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, pad, relu

import svcca


class Block(nn.Sequential):
    def forward(self, x):  # a shortcut without weights (He et al. 2016): every second pixel, zeros for new channels
        y = super().forward(x)
        return relu(y + pad(interpolate(x, y.shape[2:]), (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])))


def network(kind, w=16):  # and the layers to watch; w = 64 is the paper's
    conv, bn = partial(nn.Conv2d, kernel_size=3, padding=1), nn.BatchNorm2d
    net = OrderedDict(conv1=conv(3, w), relu1=nn.ReLU())
    if kind == "residual":
        for i, (c, d) in enumerate([(w, w), (w, w), (w, 2 * w), (2 * w, 2 * w), (2 * w, 4 * w), (4 * w, 4 * w)]):
            net[f"block{i + 1}"] = Block(conv(c, d, stride=d // c), bn(d), nn.ReLU(), conv(d, d), bn(d))
        net |= OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(4 * w, 10))
        return nn.Sequential(net), ["conv1", "block?", "fc"]
    net |= OrderedDict(conv2=conv(w, w), relu2=nn.ReLU(), bn1=bn(w), pool1=nn.MaxPool2d(2), conv3=conv(w, w))
    net |= OrderedDict(relu3=nn.ReLU(), conv4=conv(w, w), relu4=nn.ReLU(), conv5=conv(w, w), relu5=nn.ReLU(), bn2=bn(w))
    net |= OrderedDict(pool2=nn.MaxPool2d(2), flat=nn.Flatten(), fc1=nn.Linear(64 * w, 8 * w), relu6=nn.ReLU())
    net |= OrderedDict(bn3=nn.BatchNorm1d(8 * w), fc2=nn.Linear(8 * w, 4 * w), relu7=nn.ReLU())
    return nn.Sequential(net | {"bn4": nn.BatchNorm1d(4 * w), "out": nn.Linear(4 * w, 10)}), ["!relu*", "!flat"]


folder, kind, epochs, n, seed = (*sys.argv[1:], *("", "residual", "5", "20000", "0")[len(sys.argv) - 1 :])
rows = pq.read_table(f"{folder}/train-00000-of-00001.parquet").slice(0, int(n) + 2000).to_pydict()
images = np.stack([np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB")) for image in rows["img"]])
images, labels = torch.tensor(images).permute(0, 3, 1, 2) / 127.5 - 1, torch.tensor(rows["label"])
torch.manual_seed(int(seed))
net, layers = network(kind)
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
batches = [batch for _ in range(int(epochs)) for batch in torch.randperm(int(n)).split(128)]
recorder = svcca.DynamicsRecorder(net, images[int(n) :], layers=layers, every=-(-len(batches) // 19))
for step, batch in enumerate(batches):
    recorder.step(step)
    optimizer.zero_grad()
    cross_entropy(net(images[batch]), labels[batch]).backward()
    optimizer.step()
recorder.record(len(batches))
dynamics = recorder.result()
print(dynamics.summary().to_string(), "\nrank correlation of depth with convergence:", dynamics.depth_correlation())
dynamics.plot()[0].savefig(f"learning_dynamics_{kind}.png")
assert dynamics.curves[0, 0] > dynamics.curves[0, -1], "the first layer starts nearer its end than the last one"
