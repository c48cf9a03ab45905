"""Compare saved activations: arrays from any framework, in Python or on the command line."""

import subprocess
import sys

import numpy as np

import svcca

rng = np.random.default_rng(0)
concepts = rng.normal(size=(3000, 12))  # what both networks represent
noise = rng.normal(size=(3000, 30))
first = {"early": concepts @ rng.normal(size=(12, 40)), "late": np.tanh(concepts @ rng.normal(size=(12, 20)))}
second = {"early": concepts @ rng.normal(size=(12, 25)) + 3, "late": noise}

svcca.save_activations("first.safetensors", first)
np.savez("second.npz", **second)

matrix = svcca.compare("first.safetensors", "second.npz")
print(matrix.to_frame().round(3))
command = ["compare", "first.safetensors", "second.npz", "-o", "saved.html"]
subprocess.run([sys.executable, "-m", "svcca", *command], check=True)

assert matrix.values[0, 0] > 0.999, "any invertible mixture of the same concepts is the same representation"
assert abs(matrix.values[0, 1] - matrix.chance[0, 1]) < 0.03, "noise agrees at the chance level"
