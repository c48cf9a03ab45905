"""Test whether distances fall into clusters: average linkage, silhouettes, and what a single cloud would give."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_score

Array = np.ndarray[Any, Any]
MOST = 8
"""Most clusters that are looked for, and never more than half as many as there are points."""
PERMUTED = 20
"""Permutations of the distances that tell which directions stand out."""
DIRECTIONS = 10
"""Directions for each point that what is left is spread over."""
LEAST = 4
"""Fewest points that can be in two clusters of two."""


def best_clusters(matrix: Array) -> tuple[float, Array]:
    """Cut the tree of average linkage where the mean silhouette is highest.

    Args:
        matrix: Distances (n, n), symmetric, n >= LEAST.

    Returns:
        The mean silhouette in [-1, 1], and each point's cluster (n,), from 1 to the number of clusters.
    """
    symmetric = _symmetric(matrix)
    tree = linkage(squareform(symmetric, checks=False), "average")
    found = []
    for k in range(2, min(MOST, len(symmetric) // 2) + 1):
        labels = fcluster(tree, k, "maxclust")
        if len(np.unique(labels)) == k:  # equal distances may not allow a cut into just so many
            found.append((float(silhouette_score(symmetric, labels, metric="precomputed")), labels))
    return max(found, key=lambda cut: cut[0], default=(0.0, np.ones(len(symmetric), dtype=int)))


def cloud_silhouettes(matrix: Array, n_draws: int, seed: int) -> list[float]:
    """Return the best silhouettes of as many points from one cloud without clusters, equally long in each direction.

    The directions are those of classical scaling (Torgerson 1952). Along those that stand out of permuted distances
    the points are spread evenly (the reference of Tibshirani, Walther & Hastie 2001), so that nets which change
    steadily with a learning rate make no clusters. What is left, which is about the same between all pairs, is spread
    over many directions: over no more than there are points, distances would differ, and clusters appear, by chance.
    """
    n, generator = len(matrix), np.random.default_rng(seed)
    leading, rest = _spread(matrix, generator)
    n_rest = DIRECTIONS * n
    silhouettes = []
    for _ in range(n_draws):
        even = generator.uniform(-(3**0.5), 3**0.5, size=(n, len(leading))) * np.sqrt(leading)
        noise = generator.normal(size=(n, n_rest)) * np.sqrt(rest / n_rest)
        points = np.hstack([even, noise])
        silhouettes.append(best_clusters(np.linalg.norm(points[:, None] - points[None], axis=-1))[0])
    return silhouettes


def _spread(matrix: Array, generator: np.random.Generator) -> tuple[Array, float]:
    """Return the variance along each direction that stands out, and the variance of all others together."""
    n = len(matrix)
    upper = np.triu_indices(n, 1)
    values = _variances(_symmetric(matrix))
    largest = []
    for _ in range(PERMUTED):
        shuffled = np.zeros((n, n))
        shuffled[upper] = generator.permutation(_symmetric(matrix)[upper])
        largest.append(_variances(shuffled + shuffled.T)[0])
    stands_out = values > np.quantile(largest, 0.95)
    return values[stands_out], max(float(values[~stands_out].sum()), 0.0)


def _variances(distances: Array) -> Array:
    """Return the variances of points at these distances, largest first; negative where no such points exist."""
    n = len(distances)
    centring = np.eye(n) - 1 / n
    return np.linalg.eigvalsh(-0.5 * centring @ distances**2 @ centring)[::-1] / (n - 1)


def share_explained(labels: Array, values: Array) -> float:
    """Return the share of a number's variance that lies between clusters, adjusted for the number of clusters.

    1 - (n - 1) / (n - k) times the share within (Ezekiel 1930): 0 on average for clusters at random, at most 1.
    """
    labels, values = np.asarray(labels), np.asarray(values, dtype=float)
    clusters = np.unique(labels)
    n, k = len(values), len(clusters)
    rest = sum(((values[labels == label] - values[labels == label].mean()) ** 2).sum() for label in clusters)
    return float(1 - (n - 1) / (n - k) * rest / ((values - values.mean()) ** 2).sum())


def ordered(matrix: Array, labels: Array) -> Array:
    """Return the order of the tree's leaves, which keeps each cluster together."""
    leaves: Array = leaves_list(linkage(squareform(_symmetric(matrix), checks=False), "average", optimal_ordering=True))
    _, first = np.unique(labels[leaves], return_index=True)
    assert (np.diff(labels[leaves]) != 0).sum() == len(first) - 1
    return leaves


def _symmetric(matrix: Array) -> Array:
    symmetric = (matrix + matrix.T) / 2
    np.fill_diagonal(symmetric, 0)
    return np.maximum(symmetric, 0)  # rounding below 0 between equal layers
