"""Compute distances between all nets of a set, layer by layer, and intervals for pairs that share nets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

import svcca
from reproduce.layers import CONV_HIDDEN

LAYERS = CONV_HIDDEN | {"out": "out"}
"""Layers of the conv net as the paper looks at them, after the rectifier, and what a figure calls them."""
HIDDEN = tuple(CONV_HIDDEN)
Matrices = dict[str, dict[str, list[list[float]]]]


def distances(nets: Iterable[nn.Module], inputs: Tensor, layers: Sequence[str] = tuple(LAYERS)) -> Matrices:
    """Compare each net with every other one, in every layer, over the same images; maps are averaged over space.

    Returns:
        For each layer two symmetric matrices (n_nets, n_nets) as lists: "distance", 1 - PWCCA (the mean of both
        readings), and "chance", the distance of unrelated layers.
    """
    rows = [captured(net, inputs, layers) for net in nets]
    return {layer: of_rows([net[layer] for net in rows]) for layer in layers}


def captured(net: nn.Module, inputs: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return the rows (n_images, n_units) of some layers; maps are averaged over space."""
    return svcca.activations(net, inputs, layers=list(layers), progress=False)


def of_rows(rows: Sequence[Any]) -> dict[str, list[list[float]]]:
    """Compare one layer of many nets, each an array (n_samples, n_units) that is decomposed once.

    A constant layer has no direction to share: its distance to every other layer is 1, and so is that of chance.
    """
    n = len(rows)
    found = {"distance": 1.0 - np.eye(n), "chance": 1.0 - np.eye(n)}
    varying = {i: layer for i, layer in enumerate(rows) if bool((layer != layer[:1]).any())}
    if varying:
        named = {f"net {i}": layer for i, layer in varying.items()}
        matrix = svcca.compare(named, measure=svcca.measures.PWCCA(side="mean"), progress=False)
        at = np.ix_(list(varying), list(varying))
        found["distance"][at], found["chance"][at] = 1 - matrix.values, 1 - matrix.chance
    return {name: values.tolist() for name, values in found.items()}


def array(matrices: Mapping[str, Mapping[str, Any]], what: str = "distance") -> np.ndarray[Any, Any]:
    """Return the matrices of all layers as one array (n_layers, n_nets, n_nets)."""
    return np.array([layer[what] for layer in matrices.values()])


def within(matrix: np.ndarray[Any, Any], nets: Sequence[int]) -> np.ndarray[Any, Any]:
    """Return the mean over all pairs of different nets; matrices (..., n_nets, n_nets) become (...)."""
    first, second = np.triu_indices(len(nets), 1)
    part = np.asarray(nets)
    return np.asarray(matrix)[..., part[first], part[second]].mean(axis=-1)  # type: ignore[no-any-return]


def across(matrix: np.ndarray[Any, Any], nets: Sequence[int], others: Sequence[int]) -> np.ndarray[Any, Any]:
    """Return the mean over all pairs of one of these nets and one of the others."""
    return np.asarray(matrix)[..., np.asarray(nets)[:, None], np.asarray(others)].mean(axis=(-2, -1))  # type: ignore[no-any-return]


def jackknife(n: int, statistic: Callable[[list[int]], float]) -> list[float]:
    """Return one value per seed of a statistic that is computed from pairs of seeds.

    A mean over pairs of n nets has fewer than n (n - 1) / 2 independent values, since pairs share nets; the means of
    each net's own pairs hang together, too, and would give an interval about half as wide as it has to be. The
    pseudo-values n t - (n - 1) t_i, t_i the number without seed i, can be taken as independent (Tukey 1958).

    Args:
        n: The number of seeds.
        statistic: A function that computes the statistic from the seeds left in, at least two.

    Returns:
        One pseudo-value per seed, possibly outside the range of the statistic; for fewer than three seeds, the
        statistic alone.
    """
    whole = float(statistic(list(range(n))))
    if n < 3:
        return [whole]
    return [n * whole - (n - 1) * float(statistic([j for j in range(n) if j != i])) for i in range(n)]
