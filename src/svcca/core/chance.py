"""What a measure gives for unrelated data: the level below which a similarity means nothing."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

CHANCE_WARNING = 0.25
"""Chance level above which a result carries a warning; two layers of equal rank reach it at n = 12 ranks."""


def cca_mean(x_rank: int, y_rank: int, n_samples: int) -> float:
    """Expected mean canonical correlation of two unrelated layers.

    Exact for one direction on one side (a Beta law); Wachter's limit law otherwise. For SVCCA the ranks are the kept
    ones.

    Args:
        x_rank: Directions of x, 1 to n_samples - 1.
        y_rank: Directions of y.
        n_samples: Number of samples.

    References:
        Wachter (1980), "The limiting empirical measure of multiple discriminant ratios".

    >>> round(cca_mean(100, 50, 2000), 4)
    0.2092
    """
    smaller, larger = sorted((x_rank, y_rank))
    degrees = n_samples - 1
    if larger >= degrees:
        return 1.0
    if smaller == 1:
        return _one_unit(larger, degrees)
    return _wachter_mean(smaller / degrees, larger / degrees)


def _one_unit(n_features: int, degrees: int) -> float:
    """E rho for one unit against p: rho^2 ~ Beta(p/2, (m - p)/2)."""
    return math.exp(
        math.lgamma((n_features + 1) / 2)
        + math.lgamma(degrees / 2)
        - math.lgamma(n_features / 2)
        - math.lgamma((degrees + 1) / 2)
    )


@lru_cache(maxsize=4096)
def _wachter_mean(a: float, b: float) -> float:
    """Mean of sqrt(l) under Wachter's law with 0 < a <= b < 1, the atom at 1 included."""
    root_1, root_2 = math.sqrt(a * (1 - b)), math.sqrt(b * (1 - a))
    low, high = (root_1 - root_2) ** 2, (root_1 + root_2) ** 2
    # l = low + (high - low) sin^2 turns both square-root edges into a smooth periodic integrand: the midpoint rule is
    # then accurate to many digits, and its nodes never touch the edges, where 1 / l or 1 / (1 - l) may be singular.
    theta = (np.arange(4000) + 0.5) * (math.pi / 2 / 4000)
    sin2 = np.sin(theta) ** 2
    width = high - low
    value = low + width * sin2
    # 1 - l without cancellation: with a = sin^2 A and b = sin^2 B, high is sin^2(A + B), 1 - high its cosine squared.
    beyond = (math.sqrt((1 - a) * (1 - b)) - math.sqrt(a * b)) ** 2
    distance = beyond + width * (1 - sin2)
    weight = width**2 * sin2 * (1 - sin2) * 2 / (2 * math.pi * a * np.sqrt(value) * distance)
    continuous = float(weight.sum() * (math.pi / 2 / 4000))
    return continuous + max(0.0, (a + b - 1) / a)


def forced_ones(x_rank: int, y_rank: int, n_samples: int) -> int:
    """Count the canonical correlations that are exactly 1 whatever the data, for want of samples."""
    return max(0, x_rank + y_rank - (n_samples - 1))


def linear_cka(x_participation: float, y_participation: float, n_samples: int) -> float:
    """Expected linear CKA over random pairings of the rows of two layers, exact for any data.

    E |X^H P Y|_F^2 over permutations P is tr(S_xx) tr(S_yy) / m; divided by the two norms this is
    sqrt(d_x d_y) / m with the participation ratios d. For Gaussian units it is the closed form of the literature.

    Args:
        x_participation: (sum s^2)^2 / sum s^4 of x.
        y_participation: The same of y.
        n_samples: Number of samples.
    """
    return math.sqrt(x_participation * y_participation) / (n_samples - 1)
