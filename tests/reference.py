"""Slow, obvious NumPy float64 versions of every definition, independent of `svcca`, and layers with a known truth.

Nothing here squares a spectrum (no scatter matrix is decomposed) unless the definition itself does.
"""

import itertools
import math

import numpy as np
import scipy.integrate

EPS = float(np.finfo(np.float64).eps)


def rounding(size, condition=1.0):
    """Allow for the rounding of a float64 route through scatter matrices: their condition is the layer's, squared.

    The factor 16 stands for the constants that the bounds of eigensolvers and matrix products leave open.
    """
    return 16 * size * EPS * condition**2


# ---------------------------------------------------------------------------------------------------------------------
# Layers to compare
# ---------------------------------------------------------------------------------------------------------------------


def gaussian(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def related(seed, n_samples, p, q, condition=3.0):
    """Two layers that share part of their variation, neither isotropic nor centred."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n_samples, min(p, q)))
    x = rng.normal(size=(n_samples, p)) @ invertible(rng, p, condition)
    y = rng.normal(size=(n_samples, q)) @ invertible(rng, q, condition)
    x[:, : shared.shape[1]] += shared
    y[:, : shared.shape[1]] += shared
    return x + rng.normal(size=p), y + rng.normal(size=q)


def invertible(rng, size, condition=3.0):
    """Random invertible map of a known condition number."""
    left, right = orthogonal(rng, size), orthogonal(rng, size)
    return left @ np.diag(np.geomspace(1.0, 1.0 / condition, size)) @ right


def orthogonal(rng, size):
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def planted(seed, n_samples, p, q, correlations, condition=3.0):
    """Two layers whose sample canonical correlations are `correlations` (then zeros), up to rounding alone.

    Orthonormal centred columns u_i; y takes rho_i u_i + sqrt(1 - rho_i^2) u_(p + i); both sides are mixed by random
    invertible maps and moved off the origin.
    """
    rng = np.random.default_rng(seed)
    free = centred(rng.normal(size=(n_samples, p + q)))
    u = np.linalg.qr(free)[0]
    rho = np.zeros(min(p, q))
    rho[: len(correlations)] = correlations
    pure_x, pure_y = u[:, :p], u[:, p:].copy()
    for i, r in enumerate(rho):
        pure_y[:, i] = r * pure_x[:, i] + math.sqrt(1 - r**2) * u[:, p + i]
    x = pure_x @ invertible(rng, p, condition) + rng.normal(size=p)
    y = pure_y @ invertible(rng, q, condition) + rng.normal(size=q)
    return x, y


# ---------------------------------------------------------------------------------------------------------------------
# The SVD step and CCA
# ---------------------------------------------------------------------------------------------------------------------


def centred(x):
    x = np.asarray(x)
    x = x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)
    return x - x.mean(axis=0)


def basis(x, rank=None):
    """Left singular vectors, singular values and right singular vectors of the centred layer, to its known rank."""
    u, s, vh = np.linalg.svd(centred(x), full_matrices=False)
    if rank is None:
        rank = int(np.sum(s > max(np.shape(x)) * EPS * s[0]))
    return u[:, :rank], s[:rank], vh[:rank].conj().T


def kept_rank(x, retained_variance):
    """Count directions, largest first, until they hold the share; the one that crosses it is counted."""
    s = basis(x)[1]
    total = sum(value**2 for value in s)
    held, count = 0.0, 0
    for value in s:
        held += value**2
        count += 1
        if held >= retained_variance * total:
            break
    return count


def correlations(x, y):
    """Canonical correlations of layers of full column rank, by QR of the centred rows."""
    q_x, q_y = np.linalg.qr(centred(x))[0], np.linalg.qr(centred(y))[0]
    return np.linalg.svd(q_x.conj().T @ q_y, compute_uv=False).clip(0.0, 1.0)


def deficient_correlations(x, y, x_rank, y_rank):
    """Canonical correlations of layers of known ranks, by SVD of the centred rows."""
    return np.linalg.svd(basis(x, x_rank)[0].conj().T @ basis(y, y_rank)[0], compute_uv=False).clip(0.0, 1.0)


def variates(x, y, x_rank=None, y_rank=None):
    """Orthonormal canonical variates of both sides, as columns over the samples, and the correlations."""
    u_x, u_y = basis(x, x_rank)[0], basis(y, y_rank)[0]
    a, rho, bh = np.linalg.svd(u_x.conj().T @ u_y, full_matrices=False)
    return u_x @ a, u_y @ bh.conj().T, rho.clip(0.0, 1.0)


def svcca(x, y, retained_variance=0.99):
    """Mean correlation of the kept singular directions, and both kept ranks."""
    x_rank, y_rank = kept_rank(x, retained_variance), kept_rank(y, retained_variance)
    rho = deficient_correlations(x, y, x_rank, y_rank)
    return rho.sum() / min(x_rank, y_rank), x_rank, y_rank


def pwcca(x, y, x_rank=None, y_rank=None):
    """Weigh each correlation by what its variate accounts for, neuron by neuron of the narrower layer."""
    h_x, h_y, rho = variates(x, y, x_rank, y_rank)
    h, neurons = (h_x, centred(x)) if x.shape[1] <= y.shape[1] else (h_y, centred(y))
    weights = np.zeros(len(rho))
    for i in range(len(rho)):
        for j in range(neurons.shape[1]):
            weights[i] += abs(h[:, i].conj() @ neurons[:, j])
    return float((weights * rho).sum() / weights.sum())


# ---------------------------------------------------------------------------------------------------------------------
# Other measures
# ---------------------------------------------------------------------------------------------------------------------


def hsic(x, y):
    """Hilbert-Schmidt criterion with linear kernels, up to its factor: centred Gram matrices of the samples."""
    n_samples = len(x)
    h = np.eye(n_samples) - np.ones((n_samples, n_samples)) / n_samples
    return float(np.trace(h @ (x @ x.T) @ h @ (y @ y.T)))


def linear_cka(x, y):
    x, y = centred(x), centred(y)  # centring twice changes nothing, and keeps a large mean out of the Gram matrices
    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))


def ols_r2(x, unit):
    """Coefficient of determination of one unit regressed on a layer with an intercept."""
    design = np.column_stack([np.ones(len(x)), x])
    coefficients = np.linalg.lstsq(design, unit, rcond=None)[0]
    residual = unit - design @ coefficients
    return float(1 - (residual @ residual) / (centred(unit) @ centred(unit)))


def participation_ratio(x):
    covariance = np.atleast_2d(np.cov(x, rowvar=False))
    return float(np.trace(covariance) ** 2 / np.trace(covariance @ covariance))


# ---------------------------------------------------------------------------------------------------------------------
# Chance
# ---------------------------------------------------------------------------------------------------------------------


def wachter_mean(a, b):
    """Integral of sqrt(l) under Wachter's density, plus the atom at 1."""
    a, b = sorted((a, b))
    low = (math.sqrt(a * (1 - b)) - math.sqrt(b * (1 - a))) ** 2
    high = (math.sqrt(a * (1 - b)) + math.sqrt(b * (1 - a))) ** 2

    def integrand(value):
        density = math.sqrt(max(0.0, (high - value) * (value - low))) / (2 * math.pi * a * value * (1 - value))
        return math.sqrt(value) * density

    continuous = scipy.integrate.quad(integrand, low, high, limit=400)[0]
    return continuous + max(0.0, (a + b - 1) / a)


def one_unit_mean(n_features, n_samples):
    """Integral of sqrt(l) under Beta(p/2, (m - p)/2), the law of R2 for one unrelated unit."""
    p, m = n_features, n_samples - 1
    log_constant = math.lgamma(m / 2) - math.lgamma(p / 2) - math.lgamma((m - p) / 2)

    def integrand(value):
        if value in (0.0, 1.0):
            return 0.0
        powers = (p / 2 - 1) * math.log(value) + ((m - p) / 2 - 1) * math.log1p(-value)
        return math.sqrt(value) * math.exp(log_constant + powers)

    peak = p / m
    return sum(scipy.integrate.quad(integrand, *edges, limit=400)[0] for edges in ((0.0, peak), (peak, 1.0)))


def simulated_correlations(seed, n_samples, p, q):
    """Canonical correlations of one draw of independent Gaussian layers.

    Centred, y spans a uniformly random q-dimensional subspace of m = n - 1 dimensions, whatever x is: the span of x may
    be turned into the first p axes, and then U_x^T U_y is the first p rows of U_y.
    """
    u_y = np.linalg.qr(gaussian(seed, n_samples - 1, q))[0]
    return np.linalg.svd(u_y[:p], compute_uv=False).clip(0.0, 1.0)


def over_all_pairings(x, y, measure):
    """Mean of a measure over every permutation of the rows of y; for a handful of samples."""
    values = [measure(x, y[list(order)]) for order in itertools.permutations(range(len(y)))]
    return float(np.mean(values))
