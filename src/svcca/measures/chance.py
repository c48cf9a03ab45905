"""What a measure gives for unrelated data: the level below which a similarity means nothing.

Unrelated means paired at random: every matching of the rows of x with those of y is equally likely. Where a formula is
no exact mean over these matchings, it takes the subspaces to be uniformly random, as those of Gaussian layers are.
Throughout, m = n_samples - 1, and for SVCCA the ranks are the kept ones. The formulas are for real layers unless they
take `complex_valued`; those that are exact over random pairings hold for complex ones too.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from svcca.errors import InputError, message

CHANCE_WARNING = 0.25
"""Chance level above which a result carries a warning; two layers of equal rank reach it at n = 12 ranks."""

_NODES = 4000
_SPECTRUM_NODES = 400
_Floats = npt.NDArray[np.float64]


def cca_mean(x_rank: int, y_rank: int, n_samples: int, *, complex_valued: bool = False) -> float:
    """Expected mean canonical correlation of two unrelated layers.

    Exact for one direction on one side (a Beta law). Otherwise Wachter's limit law and its correction of first order
    in 1 / rank: the sum over correlations changes by [f(l+) + f(l-)] / 4 - E f / 2, f = sqrt, the mean taken under the
    arcsine law on [l-, l+]. Where the ranks together exceed m, some correlations are 1 and the others are those
    of the two complements, with ranks m - q and m - p. For complex samples the limit law is the same, the correction of
    first order is zero, and one direction has rho^2 ~ Beta(p, m - p).

    Accuracy: worst for equal ranks, 3.5% low at 2, 2% at 3, 0.7% at 5, below 0.3% from 10 on (simulated). The limit law
    alone is 5% high at 2 and 1.4% at 10.

    Args:
        x_rank: Directions of x, 1 to n_samples - 1.
        y_rank: Directions of y.
        n_samples: Number of samples.
        complex_valued: Whether a sample is a vector of complex numbers.

    Returns:
        Level in (0, 1]; 1 where either layer has as many directions as the samples allow.

    References:
        Wachter (1980), "The limiting empirical measure of multiple discriminant ratios".
        Bai & Silverstein (2004), "CLT for linear spectral statistics of large-dimensional sample covariance matrices",
        whose mean has the form of the correction.

    >>> round(cca_mean(100, 50, 2000), 3)
    0.209
    """
    smaller, larger = sorted((x_rank, y_rank))
    degrees = n_samples - 1
    if larger >= degrees:
        return 1.0
    forced = forced_ones(x_rank, y_rank, n_samples)
    if forced:
        free = smaller - forced
        if not free:
            return 1.0
        return (forced + free * _free_mean(degrees - larger, degrees - smaller, degrees, complex_valued)) / smaller
    return _free_mean(smaller, larger, degrees, complex_valued)


def cca_top(n_components: int, x_rank: int, y_rank: int, n_samples: int) -> float:
    """Expected mean of the largest canonical correlations of two unrelated layers.

    The mean of sqrt(l) over the upper n_components / min(x_rank, y_rank) of Wachter's law.

    Accuracy: 4% high for the first of 2 correlations, within 1.5% from the first of 3 on, within 0.2% for the first 20
    of 100 (simulated).

    Args:
        n_components: How many, largest first; all where there are no more. `cca_mean` then.
        x_rank: Directions of x, 1 to n_samples - 1.
        y_rank: Directions of y.
        n_samples: Number of samples.

    >>> round(cca_top(20, 500, 500, 10000), 3)
    0.411
    """
    smaller, larger = sorted((x_rank, y_rank))
    degrees = n_samples - 1
    if n_components >= smaller or larger >= degrees:
        return cca_mean(x_rank, y_rank, n_samples)
    forced = forced_ones(x_rank, y_rank, n_samples)
    if not forced:
        return _wachter_top(n_components / smaller, smaller / degrees, larger / degrees)
    if n_components <= forced:
        return 1.0
    # What is free are the correlations of the two complements; there are degrees - larger of them.
    free = cca_top(n_components - forced, degrees - larger, degrees - smaller, n_samples)
    return (forced + (n_components - forced) * free) / n_components


def cca_thresholded(x_rank: int, y_rank: int, n_samples: int, fraction: float = 0.98) -> float:
    """Expected mean of the leading canonical correlations that hold a fraction of their sum, for unrelated layers.

    Args:
        x_rank: Directions of x, 1 to n_samples - 1.
        y_rank: Directions of y.
        n_samples: Number of samples.
        fraction: Of the sum of all correlations.

    >>> cca_mean(50, 50, 500) < cca_thresholded(50, 50, 500) < cca_largest(50, 50, 500)
    True
    """
    smaller = min(x_rank, y_rank)
    wanted = fraction * smaller * cca_mean(x_rank, y_rank, n_samples)
    count = bisect_left(range(1, smaller), wanted, key=lambda k: k * cca_top(k, x_rank, y_rank, n_samples)) + 1
    return cca_top(count, x_rank, y_rank, n_samples)


def cca_largest(x_rank: int, y_rank: int, n_samples: int) -> float:
    """Upper edge of the canonical correlations of two unrelated layers: what noise hardly exceeds.

    sqrt(l+) = sqrt(a (1 - b)) + sqrt(b (1 - a)) with a, b = rank / m: the sine of the sum of two angles whose squared
    sines are a and b. 1 where a + b >= 1.

    The limit of the largest correlation for large ranks, and a threshold rather than a mean: for equal ranks it lies
    above the mean largest correlation by 58% at 2, 19% at 5, 7% at 20, 1.7% at 100, 0.4% at 500, and 6% of unrelated
    pairs exceed it at rank 2, up to 17% at large ranks (simulated). The mean is `cca_top(1, ...)`.

    Args:
        x_rank: Directions of x, 1 or more.
        y_rank: Directions of y.
        n_samples: Number of samples.

    References:
        Wachter (1980). Johnstone (2008), "Multivariate analysis and Jacobi ensembles", for the fluctuation.

    >>> round(cca_largest(500, 500, 10000), 3)
    0.436
    """
    degrees = n_samples - 1
    if x_rank + y_rank >= degrees:
        return 1.0
    a, b = x_rank / degrees, y_rank / degrees
    return math.sqrt(a * (1 - b)) + math.sqrt(b * (1 - a))


def r2_cca(x_rank: int, y_rank: int, n_samples: int) -> float:
    """Expected mean squared canonical correlation over random pairings, exact for any data.

    E sum rho^2 = E tr(P_x P_y) = p q / m, since a random pairing averages the projection P_y to (q / m) times the
    identity on centred vectors. Divided by min(p, q) it is max(p, q) / m.

    Args:
        x_rank: Directions of x, 1 to n_samples - 1.
        y_rank: Directions of y.
        n_samples: Number of samples.

    >>> r2_cca(50, 80, 1001)
    0.08
    """
    return min(1.0, max(x_rank, y_rank) / (n_samples - 1))


def linear_regression_r2(x_rank: int, n_samples: int) -> float:
    """Expected share of the variance of y that unrelated x explains, over random pairings, exact for any data.

    E |P_x y|^2 / |y|^2 = rank(x) / m, whatever y is, by the argument of `r2_cca`.

    Args:
        x_rank: Directions of x, the layer regressed on, 1 to n_samples - 1.
        n_samples: Number of samples.

    >>> linear_regression_r2(512, 2049)
    0.25
    """
    return min(1.0, x_rank / (n_samples - 1))


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


def procrustes(
    x_singular_values: npt.NDArray[np.floating[Any]], y_singular_values: npt.NDArray[np.floating[Any]], n_samples: int
) -> float:
    """Expected Procrustes similarity |S_xy|_* / sqrt(tr S_xx tr S_yy) of two unrelated layers with these spectra.

    The squared singular values of S_xy follow, for large ranks, the free product of the two spectra; with equal
    singular values it is Wachter's law. Its S-transform gives the mean nuclear norm as one integral over a count h,

        E |S_xy|_* = (2 / pi) integral_0^r sqrt(h / ((m - h) u_x(h) u_y(h))) dh,   r = min(rank_x, rank_y),

    where u_x(h) solves sum_i s_i^2 u / (1 + s_i^2 u) = h.

    Accuracy: 0.1% of the level for tens of directions of comparable weight, 1 to 2% for spectra that fall as 1 / i,
    and in the worst case, one direction that holds all variance on both sides, 6.4% high.

    Args:
        x_singular_values: Kept singular values of x, (rank_x,), all positive.
        y_singular_values: The same of y, (rank_y,).
        n_samples: Number of samples.

    Returns:
        Level in (0, 1].

    Cost:
        400 (rank_x + rank_y) exponentials: 5 ms at ranks of 512.

    References:
        Voiculescu (1987), "Multiplication of certain non-commuting random variables".

    >>> import numpy as np
    >>> equal = np.ones(50)
    >>> abs(procrustes(equal, equal, 1000) - cca_mean(50, 50, 1000)) < 0.002
    True
    """
    ranks = len(x_singular_values), len(y_singular_values)
    degrees = n_samples - 1
    # h = r sin^2(theta) turns the square-root ends of the integrand into a smooth periodic one, as in Wachter's law.
    theta = (np.arange(_SPECTRUM_NODES) + 0.5) * (math.pi / 2 / _SPECTRUM_NODES)
    count = min(ranks) * np.sin(theta) ** 2
    slope = 2 * min(ranks) * np.sin(theta) * np.cos(theta)
    log_u = _log_of_counted(x_singular_values, count) + _log_of_counted(y_singular_values, count)
    norms = np.sqrt(count / (degrees - count)) * np.exp(-log_u / 2)
    return min(1.0, float((norms * slope).mean()))  # (2 / pi) times the length pi / 2 of the interval is 1


def chance_corrected(value: float, level: float) -> float:
    """Put a similarity on the scale where unrelated data have 0 and identical layers 1, (value - level) / (1 - level).

    For R2_CCA and its own level, max(p, q) / m, the result is near what unlimited samples would give: at most 0.015 low
    at n = 1000 with ranks of 50 and 80, where the value itself is up to 0.08 high (simulated).

    Args:
        value: Similarity.
        level: What chance gives.

    Returns:
        At most 1 where `value` is; negative below the level.

    Raises:
        InputError: If the level is 1, where every pair of layers is alike.

    >>> chance_corrected(0.75, 0.5)
    0.5
    """
    if not level < 1:
        raise InputError(
            message(
                "chance_corrected",
                "a chance level below 1",
                str(level),
                "With as many directions as samples any two layers look identical",
                "Use more samples, or keep fewer directions",
            )
        )
    return (value - level) / (1 - level)


def forced_ones(x_rank: int, y_rank: int, n_samples: int) -> int:
    """Count the canonical correlations that are exactly 1 whatever the data, for want of samples."""
    return max(0, x_rank + y_rank - (n_samples - 1))


def _free_mean(smaller: int, larger: int, degrees: int, complex_valued: bool) -> float:
    """Mean correlation where none is forced to 1: smaller + larger <= degrees."""
    if smaller == 1:
        return _one_unit(2 * larger, 2 * degrees) if complex_valued else _one_unit(larger, degrees)
    mean, correction = _wachter_mean(smaller / degrees, larger / degrees)
    return mean if complex_valued else mean + correction / smaller


def _one_unit(n_features: int, degrees: int) -> float:
    """E rho for one unit against p: rho^2 ~ Beta(p/2, (m - p)/2)."""
    return math.exp(
        math.lgamma((n_features + 1) / 2)
        + math.lgamma(degrees / 2)
        - math.lgamma(n_features / 2)
        - math.lgamma((degrees + 1) / 2)
    )


@lru_cache(maxsize=4096)
def _wachter_mean(a: float, b: float) -> tuple[float, float]:
    """Mean of sqrt(l) under Wachter's law, and the first-order correction of the sum over all correlations."""
    rho, weight = _wachter_law(a, b)
    # The edges of sqrt(l) add up to 2 sqrt(b (1 - a)); the nodes, uniform in theta, are those of the arcsine law.
    return float(weight @ rho), math.sqrt(b * (1 - a)) / 2 - float(rho.mean()) / 2


@lru_cache(maxsize=4096)
def _wachter_top(share: float, a: float, b: float) -> float:
    """Mean of sqrt(l) over the upper share of Wachter's law."""
    rho, weight = _wachter_law(a, b)
    taken = np.diff(np.minimum(np.cumsum(weight[::-1]), share), prepend=0.0)
    return float(taken @ rho[::-1]) / share


def _wachter_law(a: float, b: float) -> tuple[_Floats, _Floats]:
    """Nodes of rho = sqrt(l), smallest first, and their weights under Wachter's law, 0 < a <= b and a + b <= 1."""
    root_1, root_2 = math.sqrt(a * (1 - b)), math.sqrt(b * (1 - a))
    low, width = (root_1 - root_2) ** 2, 4 * root_1 * root_2
    # l = low + width sin^2 turns both square-root edges into a smooth periodic integrand: the midpoint rule is then
    # accurate to many digits, and its nodes never touch the edges, where 1 / l or 1 / (1 - l) may be singular.
    theta = (np.arange(_NODES) + 0.5) * (math.pi / 2 / _NODES)
    sin2 = np.sin(theta) ** 2
    value = low + width * sin2
    # 1 - l without cancellation: with a = sin^2 A and b = sin^2 B, l+ is sin^2(A + B), 1 - l+ its cosine squared.
    beyond = (math.sqrt((1 - a) * (1 - b)) - math.sqrt(a * b)) ** 2
    distance = beyond + width * (1 - sin2)
    density = width**2 * sin2 * (1 - sin2) / (math.pi * a * value * distance)
    return np.sqrt(value), density * (math.pi / 2 / _NODES)


def _log_of_counted(singular_values: npt.NDArray[np.floating[Any]], count: _Floats) -> _Floats:
    """Log u with sum_i w_i u / (1 + w_i u) = count, w the shares of variance; 0 < count < rank, ascending."""
    log_share = 2 * np.log(np.asarray(singular_values, dtype=np.float64))
    log_share -= _log_sum(log_share)
    rank = len(log_share)
    # The sum is at most u, and rank minus the sum at most sum(1 / w) / u: both ends of the search, with certainty.
    low, high = math.log(count[0]), _log_sum(-log_share) - math.log(rank - count[-1])
    log_u = np.linspace(low, high, _SPECTRUM_NODES)
    exponent = log_u[:, None] + log_share
    small = np.exp(-np.abs(exponent))  # no overflow on either side of w u = 1
    inside = (np.where(exponent > 0, 1.0, small) / (1 + small)).sum(axis=1)
    outside = (np.where(exponent > 0, small, 1.0) / (1 + small)).sum(axis=1)
    # For a single direction log(inside / outside) is linear in log u, so this is the scale to interpolate on.
    return np.interp(np.log(count / (rank - count)), np.log(inside / outside), log_u)


def _log_sum(exponents: _Floats) -> float:
    """Log of the sum of exponentials, without overflow."""
    top = float(exponents.max())
    return top + math.log(float(np.exp(exponents - top).sum()))
