"""Compare convolutional layers exactly: by frequency, as if every shift of every image were flattened.

python examples/fourier_exact.py
"""

import itertools
import warnings

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import svcca
from svcca.fourier.covariances import channel_covariances

warnings.simplefilter("ignore", svcca.SvccaWarning)
digits = load_digits()
IMAGES = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
LABELS = torch.tensor(digits.target)


def conv(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, padding_mode="circular"), nn.ReLU())


def trained(seed):
    torch.manual_seed(seed)
    net = nn.Sequential(conv(1, 6), conv(6, 6), nn.AvgPool2d(2), conv(6, 8), nn.Flatten(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(3):
        for batch in torch.randperm(1797).split(64):
            optimizer.zero_grad()
            cross_entropy(net(IMAGES[batch]), LABELS[batch]).backward()
            optimizer.step()
    return net.eval()


a, b = trained(0), trained(1)
some = IMAGES[:400]
options = {"layers": ["1", "2", "3"], "observe": svcca.Fourier(phases=2), "retained_variance": 1.0}  # stride 2 in all
matrix = svcca.compare(a, b, some, measure="cca", **options)
print(matrix.to_frame().round(4).to_string())

# The long way: every one of the 64 shifts of every image, flattened.
shifts = torch.cat([some.roll(step, (2, 3)) for step in itertools.product(range(8), repeat=2)])
with torch.no_grad():
    x, y = ([net[:4](shifts).flatten(1).double(), net[:2](shifts).flatten(1).double()] for net in (a, b))
for left, right, row, column in ((x[0], y[0], 2, 2), (x[1], y[0], 0, 2)):
    flattened = svcca.cca(left, right).similarity
    print(f"{matrix.row_labels[row]} x {matrix.column_labels[column]}, {len(shifts):,} shifted images: {flattened:.6f}")
    assert abs(flattened - matrix.values[row, column]) < 1e-4, "the two agree to float32"

channel_covariances(IMAGES).plot()[0].savefig("covariance.png")
maps = [layer[:400].unflatten(1, (6, 8, 8)) for layer in (x[1], y[1])]
svcca.fourier.fourier_cca(*maps).plot()[0].savefig("frequencies.png")
