"""Time other libraries on the same pair, where they are installed or checked out; none of their code is here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]


def peer(name: str, path: str) -> Callable[[Array, Array], float]:
    """Return a function that computes a library's SVCCA of two arrays.

    Args:
        name: One of `ADAPTERS`.
        path: The folder to import it from; empty if it is installed.

    Raises:
        ValueError: If there is no adapter of this name.
        ImportError: If the library cannot be imported.
    """
    if name not in ADAPTERS:
        raise ValueError(f"--peer: expected one of {', '.join(ADAPTERS)}; got {name!r}.")
    if path:
        sys.path.insert(0, path)
    module, run = ADAPTERS[name]
    library = importlib.import_module(module)
    return lambda x, y: run(library, x, y)


def _google_svcca(library: Any, x: Array, y: Array) -> float:
    """Follow its tutorial: units in rows, a plain SVD of each layer, then `get_cca_similarity`."""
    cut = [_svd_step(x).T, _svd_step(y).T]
    found = library.get_cca_similarity(*cut, epsilon=1e-10, compute_dirns=False, verbose=False)
    return float(np.mean(found["cca_coef1"]))


def _anatome(library: Any, x: Array, y: Array) -> float:
    return 1 - float(library.svcca_distance(torch.from_numpy(x), torch.from_numpy(y), 0.99, "svd"))


def _cca_zoo(library: Any, x: Array, y: Array) -> float:
    """Run its CCA (version 4) after a plain SVD step."""
    cut = [_svd_step(x), _svd_step(y)]
    model = library.CCA(n_components=min(layer.shape[1] for layer in cut))
    return float(model.fit(cut).score(cut))


def _svd_step(x: Array) -> Array:
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    kept = int((np.cumsum(s**2) < 0.99 * np.sum(s**2)).sum()) + 1
    cut: Array = u[:, :kept] * s[:kept]
    return cut


ADAPTERS: dict[str, tuple[str, Callable[[Any, Array, Array], float]]] = {
    "google_svcca": ("cca_core", _google_svcca),
    "anatome": ("anatome.distance", _anatome),
    "cca_zoo": ("cca_zoo.linear", _cca_zoo),
}
