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


def kept_rank_by_singular_values(x, share):
    """As `kept_rank`, of the singular values themselves, as the appendix of the paper writes it."""
    s = basis(x)[1]
    held = 0.0
    for count, value in enumerate(s, start=1):
        held += value
        if held >= share * sum(s):
            return count
    return len(s)


def svcca_correlations(x, y, retained_variance):
    return deficient_correlations(x, y, kept_rank(x, retained_variance), kept_rank(y, retained_variance))


def svcca_weighted(x, y, retained_variance=0.99, side="x"):
    """Singular values of one side weigh the lengths of diag(rho) Xt^H x_i, one singular vector x_i after the other."""
    if side == "mean":
        return (svcca_weighted(x, y, retained_variance, "x") + svcca_weighted(x, y, retained_variance, "y")) / 2
    if side == "y":
        x, y = y, x
    x_rank, y_rank = kept_rank(x, retained_variance), kept_rank(y, retained_variance)
    h, _, rho = variates(x, y, x_rank, y_rank)
    u, s, _ = basis(x, x_rank)
    total = 0.0
    for i in range(x_rank):
        projected = [rho[j] * (h[:, j].conj() @ u[:, i]) for j in range(len(rho))]
        total += s[i] * np.linalg.norm(projected)
    return float(total / s.sum())


def pwcca_weights(variate_columns, layer, *, squared=False):
    """Sum over neurons of what each canonical variate accounts for, |<h_i, z_j>| or its square."""
    neurons = centred(layer)
    weights = np.zeros(variate_columns.shape[1])
    for i in range(len(weights)):
        for j in range(neurons.shape[1]):
            weights[i] += abs(variate_columns[:, i].conj() @ neurons[:, j]) ** (2 if squared else 1)
    return weights


def pwcca_of_side(x, y, side, *, squared=False):
    """PWCCA weighted by the units of "x", "y", the "narrower" layer (x if equal), or the "mean" of both readings."""
    if side == "mean":
        return (pwcca_of_side(x, y, "x", squared=squared) + pwcca_of_side(x, y, "y", squared=squared)) / 2
    if side == "narrower":
        side = "x" if x.shape[1] <= y.shape[1] else "y"
    h_x, h_y, rho = variates(x, y)
    weights = pwcca_weights(h_x, x, squared=squared) if side == "x" else pwcca_weights(h_y, y, squared=squared)
    return float((weights * rho).sum() / weights.sum())


def top_mean(rho, count):
    return float(np.mean(sorted(rho, reverse=True)[:count]))


def thresholded_mean(rho, fraction=0.98):
    """Mean of the leading correlations until they hold the fraction of the sum; the crossing one is counted."""
    held, taken = 0.0, []
    for value in sorted(rho, reverse=True):
        held += value
        taken.append(value)
        if held >= fraction * sum(rho):
            break
    return float(np.mean(taken))


def unbiased_hsic(x, y):
    """Song et al. (2012), equation 5, with linear kernels: n x n Gram matrices whose diagonals are set to zero."""
    n, one = len(x), np.ones(len(x))
    k, l = x @ x.conj().T, y @ y.conj().T  # noqa: E741 - the letter of the cited equation
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(l, 0.0)
    first = np.trace(k @ l)
    second = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (one @ k @ l @ one)
    return float(np.real(first + second - third) / (n * (n - 3)))


def linear_cka_debiased(x, y):
    x, y = centred(x), centred(y)  # the estimator does not see an offset; the Gram matrices would lose digits to it
    return unbiased_hsic(x, y) / math.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))


def procrustes(x, y):
    """Nuclear norm of the cross-scatter of layers scaled to unit Frobenius norm."""
    x, y = centred(x), centred(y)
    singular_values = np.linalg.svd(x.conj().T @ y, compute_uv=False)
    return float(sum(singular_values) / (np.linalg.norm(x) * np.linalg.norm(y)))


def linear_regression_r2(x, y):
    """One least-squares fit with an intercept a unit of y; residuals and variances summed over the units."""
    design = np.column_stack([np.ones(len(x)), x])
    unexplained, total = 0.0, 0.0
    for unit in np.asarray(y).T:
        residual = unit - design @ np.linalg.lstsq(design, unit, rcond=None)[0]
        unexplained += np.linalg.norm(residual) ** 2
        total += np.linalg.norm(centred(unit)) ** 2
    return float(1 - unexplained / total)


def entropy_dimension(x):
    shares = np.linalg.eigvalsh(np.atleast_2d(np.cov(x, rowvar=False)))
    shares = shares / shares.sum()
    return math.exp(-sum(p * math.log(p) for p in shares))


MEASURES = {
    "svcca": lambda x, y, share: float(svcca(x, y, share)[0]),
    "svcca_r2": lambda x, y, share: float(np.mean(svcca_correlations(x, y, share) ** 2)),
    "svcca_weighted": lambda x, y, share: svcca_weighted(x, y, share, "x"),
    "pwcca": lambda x, y, _: pwcca_of_side(x, y, "narrower"),
    "cca": lambda x, y, _: float(np.mean(correlations(x, y))),
    "r2_cca": lambda x, y, _: float(np.mean(correlations(x, y) ** 2)),
    "cca_top": lambda x, y, _: top_mean(correlations(x, y), 20),
    "cca_thresholded": lambda x, y, _: thresholded_mean(correlations(x, y)),
    "linear_cka": lambda x, y, _: linear_cka(x, y),
    "linear_cka_debiased": lambda x, y, _: linear_cka_debiased(x, y),
    "procrustes": lambda x, y, _: procrustes(x, y),
    "linear_regression_r2": lambda x, y, _: linear_regression_r2(x, y),
    "svcca_weighted(side='y')": lambda x, y, share: svcca_weighted(x, y, share, "y"),
    "svcca_weighted(side='mean')": lambda x, y, share: svcca_weighted(x, y, share, "mean"),
    "pwcca(side='x')": lambda x, y, _: pwcca_of_side(x, y, "x"),
    "pwcca(side='y')": lambda x, y, _: pwcca_of_side(x, y, "y"),
    "pwcca(side='mean')": lambda x, y, _: pwcca_of_side(x, y, "mean"),
    "pwcca(squared=True)": lambda x, y, _: pwcca_of_side(x, y, "narrower", squared=True),
}
"""Every measure, by its label, as (x, y, retained share) -> value, for layers of full column rank."""


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
