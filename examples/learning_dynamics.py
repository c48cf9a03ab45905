"""Which layers converge first? A small net on the bundled digits, recorded while it trains.

python examples/learning_dynamics.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import svcca

digits = load_digits()
IMAGES = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
LABELS = torch.tensor(digits.target)

torch.manual_seed(0)
net = nn.Sequential()
for c_in, c_out in [(64, 48), (48, 48), (48, 48)]:
    net.append(nn.Sequential(nn.Linear(c_in, c_out), nn.ReLU()))
net.append(nn.Linear(48, 10))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

recorder = svcca.DynamicsRecorder(net, IMAGES, layers=["?"], every=40)
step = 0
for _ in range(12):
    for batch in torch.randperm(len(IMAGES)).split(64):
        recorder.step(step)
        optimizer.zero_grad()
        cross_entropy(net(IMAGES[batch]), LABELS[batch]).backward()
        optimizer.step()
        step += 1
recorder.record(step)

dynamics = recorder.result()
print(dynamics.summary(threshold=0.9).to_string())
print("rank correlation of depth with the step of convergence:", dynamics.depth_correlation())
dynamics.plot()[0].savefig("learning_dynamics.png")
dynamics.plot_panes()[0].savefig("learning_dynamics_panes.png")
middle = len(dynamics.steps) // 2
assert (dynamics.curves[middle] > dynamics.curves[0]).all(), "halfway, every layer is nearer its end than at the start"
