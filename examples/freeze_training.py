"""Train a small net on the bundled digits and freeze it block by block: how much work does that save?

python examples/freeze_training.py
"""

import warnings

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import svcca

warnings.simplefilter("ignore", svcca.SvccaWarning)
digits = load_digits()
IMAGES = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
LABELS = torch.tensor(digits.target)
EPOCHS, BATCH, N_TRAIN = 12, 64, 1400
TOTAL = EPOCHS * -(-N_TRAIN // BATCH)


def train(schedule):
    torch.manual_seed(0)
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    net = nn.Sequential(*conv, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    freezer = svcca.FreezeTraining(net, optimizer, schedule=schedule, total_steps=TOTAL)
    for _ in range(EPOCHS):
        net.train()
        for batch in torch.randperm(N_TRAIN).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(net(IMAGES[batch]), LABELS[batch]).backward()
            optimizer.step()
            freezer.step()
    with torch.no_grad():
        right = net.eval()(IMAGES[N_TRAIN:]).argmax(1) == LABELS[N_TRAIN:]
    return right.float().mean().item(), freezer.summary()


never_before_the_end, _ = train([TOTAL - 1])
linear, summary = train("linear")
probe = IMAGES[N_TRAIN:][:200]
adaptive, found = train(svcca.freeze.AdaptiveFreezing(probe, threshold=0.95, start=0.25))
print(summary, found, sep="\n\n")
print(f"accuracy: {never_before_the_end:.3f} unfrozen, {linear:.3f} linear, {adaptive:.3f} adaptive")
summary.plot()[0].savefig("freeze_training.png")
assert min(linear, adaptive) > never_before_the_end - 0.04, "hardly any accuracy is lost"
assert min(summary.share_of_flops_saved, found.share_of_flops_saved) > 0.15, "and work is saved"
