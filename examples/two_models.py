"""Compare your own models in ten lines: any two torch modules and a loader. Here, two digit classifiers."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import svcca

digits = load_digits()
dataset = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))


def trained(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(20):
        for inputs, labels in DataLoader(dataset, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
    return model


model_a, model_b = trained(seed=0), trained(seed=1)
loader = DataLoader(dataset, batch_size=256)  # (inputs, labels): the first part goes to the model

matrix = svcca.compare(model_a, model_b, loader, layers=["0", "2", "4"])
print(matrix.to_frame().round(3))
print("chance:", matrix.chance.round(3).tolist(), "ranks:", [layer.rank for layer in matrix.rows])
print("wrote", matrix.report("two_models.html"))

assert (matrix.values > matrix.chance + 0.2).all(), "two nets trained on one task agree far beyond chance"
