"""Every measure as one call on two arrays, and a layer's own spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svcca.core.arrays import ArrayLike, to_numpy, to_rows
from svcca.core.linalg import largest_loading_positive, svd
from svcca.core.moments import moments_of
from svcca.core.scatter import FLOAT64, Precision
from svcca.core.solvers import coherence_of
from svcca.core.subspace import WHOLE, Subspace, SVDStep, decompose
from svcca.errors import unknown_option
from svcca.measures.cca import announced
from svcca.measures.registry import Similarity, evaluate, evaluate_all, get_measure
from svcca.measures.significance import PermutationTest, permutation_null
from svcca.measures.values import Side, WeightingSide, entropy_dimension, participation_ratio


def similarities(
    x: ArrayLike,
    y: ArrayLike,
    names: Sequence[str],
    *,
    retained_variance: float = 0.99,
    precision: Precision = FLOAT64,
) -> dict[str, Similarity]:
    """Several measures of two layers from one decomposition.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        names: Names of measures; `svcca.MEASURES` lists them.
        retained_variance: Share of variance that the measures with an SVD step keep.
        precision: As in `cca`.

    Returns:
        Each measure's value with ranks, chance level and warnings, by name.

    Raises:
        UnknownOptionError: For a measure that does not exist.
        InputError: As `cca`.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 4))
    >>> {name: round(float(value), 6) for name, value in similarities(x, 2 * x, ["svcca", "linear_cka"]).items()}
    {'svcca': 1.0, 'linear_cka': 1.0}
    """
    chosen = [get_measure(name) for name in names]
    step = SVDStep(retained_variance)
    rows_needed = any(measure.needs_rows for measure in chosen)
    only_cut = all(measure.svd_step for measure in chosen)
    coherence = coherence_of(x, y, step=step if only_cut else WHOLE, precision=precision, rows_needed=rows_needed)
    results = {}
    for result in evaluate_all(chosen, coherence, step):
        results[result.measure] = announced(result)
    return results


def _one(name: str, x: ArrayLike, y: ArrayLike, step: SVDStep = WHOLE) -> Similarity:
    measure = get_measure(name)
    coherence = coherence_of(x, y, step=step, rows_needed=measure.needs_rows)
    return evaluate(measure, coherence, step)


def _sided(name: str, side: str, default: str, choices: Sequence[str]) -> str:
    """Name of a measure in the registry for a side, checked."""
    if side not in choices:
        raise unknown_option(name, "side", side, choices)
    return name if side == default else f"{name}_{side}"


def pwcca(x: ArrayLike, y: ArrayLike, *, side: WeightingSide = "narrower", squared: bool = False) -> Similarity:
    """Projection-weighted CCA of two layers.

    sum(a_i rho_i) / sum(a_i) over all canonical correlations; a_i = sum_j |<h_i, z_j>| is how much of the units z_j of
    one layer its canonical variate h_i accounts for.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        side: Whose units weigh: "narrower" (default: the layer with fewer units, x if equal), "x", "y", or the "mean"
            of both readings.
        squared: Weigh by squares, which no rotation of the units changes; for the narrower side.

    Returns:
        Similarity in [0, 1] with ranks, chance level and warnings.

    Raises:
        InputError: As `cca`.

    References:
        Morcos, Raghu & Bengio (2018), section 2.2.
    """
    name = _sided("pwcca", side, "narrower", ["narrower", "x", "y", "mean"])
    if squared and side != "narrower":
        raise unknown_option("pwcca squared", "side", side, ["narrower"])
    return announced(_one("pwcca_squared" if squared else name, x, y))


def svcca_weighted(x: ArrayLike, y: ArrayLike, *, side: Side = "x", retained_variance: float = 0.99) -> Similarity:
    """Weighted SVCCA of the paper's first version: correlations weighted by the singular values of one side.

    (1 / sum s_i) sum_i s_i |diag(rho) Xt^H u_i| over the kept left singular vectors u_i of that side, Xt its
    orthonormal canonical variates.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        side: Whose singular values weigh: "x" (default), "y", or the "mean" of both readings.
        retained_variance: Share of each layer's variance to keep.

    Returns:
        Similarity in [0, 1] with ranks, chance level and warnings; 1 for y = x.

    Raises:
        InputError: As `svcca`.

    References:
        Raghu et al. (2017), arXiv version 1, section 2.
    """
    return announced(_one(_sided("svcca_weighted", side, "x", ["x", "y", "mean"]), x, y, SVDStep(retained_variance)))


def r2_cca(x: ArrayLike, y: ArrayLike) -> Similarity:
    """Mean squared canonical correlation of two layers, sum(rho^2) / min(rank_x, rank_y); in [0, 1].

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.

    Raises:
        InputError: As `cca`.

    References:
        Kornblith et al. (2019), table 1; Yanai (1974).
    """
    return announced(_one("r2_cca", x, y))


def linear_cka(x: ArrayLike, y: ArrayLike, *, debiased: bool = False) -> Similarity:
    """Linear centred kernel alignment of two layers, |S_xy|_F^2 / (|S_xx|_F |S_yy|_F).

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        debiased: From the unbiased estimator of HSIC: about 0 for unrelated layers however wide, may be negative.

    Returns:
        Similarity in [0, 1] (debiased: at most 1) with ranks, chance level and warnings.

    Raises:
        InputError: As `cca`.

    References:
        Kornblith, Norouzi, Lee & Hinton (2019), equation 5; Song et al. (2012), equation 5.
    """
    return announced(_one("linear_cka_debiased" if debiased else "linear_cka", x, y))


def procrustes(x: ArrayLike, y: ArrayLike) -> Similarity:
    """Procrustes similarity of two layers, nuclear norm of S_xy / sqrt(tr S_xx tr S_yy); in [0, 1].

    How well an orthogonal map and a scale turn one layer into the other.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.

    Raises:
        InputError: As `cca`.

    References:
        Ding, Denain & Steinhardt (2021), section 2; Williams et al. (2021).
    """
    return announced(_one("procrustes", x, y))


def procrustes_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Procrustes distance sqrt(2 - 2 similarity) of two layers scaled to unit variance; in [0, sqrt(2)], a metric."""
    return math.sqrt(2 - 2 * announced(_one("procrustes", x, y)).similarity)


def procrustes_angle(x: ArrayLike, y: ArrayLike) -> float:
    """Procrustes angle arccos(similarity) of two layers, in radians; in [0, pi / 2], a metric."""
    return math.acos(announced(_one("procrustes", x, y)).similarity)


def linear_regression_r2(x: ArrayLike, y: ArrayLike) -> Similarity:
    """Share of the variance of y that least squares on x explains, |U_x^H y|_F^2 / |y|_F^2; in [0, 1], asymmetric.

    Args:
        x: Activations (n_samples, p) that predict.
        y: Activations (n_samples, q) that are predicted.

    Raises:
        InputError: As `cca`.

    References:
        Kornblith et al. (2019), table 1.
    """
    return announced(_one("linear_regression_r2", x, y))


@dataclass(frozen=True, eq=False)
class PLSResult:
    """Partial least squares of two layers: the directions along which they covary most.

    Attributes:
        covariances: Singular values of the cross-covariance, (r,), float64, largest first.
        x_directions: Orthonormal directions in units of x, (p, r); the entry of largest magnitude is positive.
        y_directions: The same for y, (q, r), with the sign that makes each covariance positive.
        covariance_ratio: Share of the squared cross-covariance along each pair, (r,).
        x_mean: Mean of each unit of x, (p,).
        y_mean: Mean of each unit of y, (q,).
        n_samples: Number of samples.
    """

    covariances: npt.NDArray[np.float64]
    x_directions: npt.NDArray[Any]
    y_directions: npt.NDArray[Any]
    covariance_ratio: npt.NDArray[np.float64]
    x_mean: npt.NDArray[Any]
    y_mean: npt.NDArray[Any]
    n_samples: int


def pls(x: ArrayLike, y: ArrayLike) -> PLSResult:
    """Partial least squares (SVD of the cross-covariance) of two layers; magnitude counts, widths may differ.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.

    Raises:
        InputError: As `cca`.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> pls(x, x[:, :2]).covariances.shape
    (2,)
    """
    coherence = coherence_of(x, y)
    a, s, bh, _ = svd(coherence.cross_scatter)
    x_directions = coherence.x.directions.to(a.dtype) @ a
    signs = largest_loading_positive(x_directions)
    return PLSResult(
        covariances=to_numpy(s) / (coherence.n_samples - 1),
        x_directions=to_numpy(x_directions * signs),
        y_directions=to_numpy((coherence.y.directions.to(a.dtype) @ bh.mH) * signs),
        covariance_ratio=to_numpy(s**2 / (s**2).sum()),
        x_mean=to_numpy(coherence.x.mean),
        y_mean=to_numpy(coherence.y.mean),
        n_samples=coherence.n_samples,
    )


@dataclass(frozen=True, eq=False)
class PCAResult:
    """Principal directions of one layer, and how many it effectively uses.

    Attributes:
        singular_values: Of the centred layer, (rank,), float64, largest first; s^2 / (n - 1) is a variance.
        directions: Orthonormal directions in the layer's units, (p, rank); the entry of largest magnitude is positive.
        explained_variance_ratio: Share of the variance along each, (rank,).
        mean: Mean of each unit, (p,).
        rank_99: Directions that hold 99% of the variance: the paper's intrinsic dimension.
        participation_ratio: (sum s^2)^2 / sum s^4.
        entropy_dimension: exp(-sum p log p) of the shares of variance p.
        n_samples: Number of samples.
    """

    singular_values: npt.NDArray[np.float64]
    directions: npt.NDArray[Any]
    explained_variance_ratio: npt.NDArray[np.float64]
    mean: npt.NDArray[Any]
    rank_99: int
    participation_ratio: float
    entropy_dimension: float
    n_samples: int


def pca(x: ArrayLike) -> PCAResult:
    """Principal component analysis of one layer: the SVD step alone, and its effective dimensions.

    Args:
        x: Activations (n_samples, p).

    Raises:
        InputError: For arrays that are no activations, and for a constant layer.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 3)) @ np.diag([10, 1, 0.01])
    >>> pca(x).rank_99
    1
    """
    rows = to_rows(x, "pca x")
    wide = rows.shape[1] > rows.shape[0]
    layer = decompose(rows, "pca x") if wide else Subspace.from_moments(moments_of(rows), "pca x")
    return PCAResult(
        singular_values=to_numpy(layer.singular_values),
        directions=to_numpy(layer.directions),
        explained_variance_ratio=to_numpy(layer.explained_variance_ratio),
        mean=to_numpy(layer.mean),
        rank_99=layer.truncate(SVDStep(0.99)).rank,
        participation_ratio=participation_ratio(layer),
        entropy_dimension=entropy_dimension(layer),
        n_samples=layer.n_samples,
    )


def permutation_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    measure: str = "svcca",
    retained_variance: float = 0.99,
    n_permutations: int = 1000,
    seed: int = 0,
    progress: bool | None = None,
) -> PermutationTest:
    """Whether two layers are more similar than under random pairings of their rows, and what these give.

    Only the small bases are permuted: each layer is decomposed once.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        measure: Name of a measure.
        retained_variance: Share of variance that measures with an SVD step keep.
        n_permutations: Number of random pairings.
        seed: Of the random pairings.
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        Observed value, the values under random pairings, the p-value and the chance level they imply.

    Raises:
        InputError: As `cca`; UnknownOptionError for a measure that does not exist.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> permutation_test(x, x + np.random.default_rng(1).normal(size=(200, 3)), n_permutations=99).p_value
    0.01
    """
    chosen = get_measure(measure)
    step = SVDStep(retained_variance) if chosen.svd_step else WHOLE
    coherence = coherence_of(x, y, step=step, rows_needed=True)
    return permutation_null(coherence, chosen.evaluate, n_permutations, seed, progress)
