"""Is a similarity more than chance? Bartlett's test of correlations, and a permutation test of any measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, check_finite, to_numpy, to_tensor
from svcca.core.coherence import Coherence
from svcca.core.linalg import FLOAT64_EPS
from svcca.core.scatter import cross_product
from svcca.errors import InputError, NonFiniteError, SampleError, message
from svcca.progress import track

_BATCH_ELEMENTS = 2**23
"""Numbers in one batch of permuted bases: 64 MB, and products large enough to run at full speed."""


@dataclass(frozen=True, eq=False)
class BartlettTest:
    """Bartlett's test of "all correlations beyond the first k are zero", for every k = 0 .. r - 1.

    Attributes:
        statistics: T_k, (r,), float64, at least 0; infinite where a correlation beyond the first k is exactly 1.
        degrees_of_freedom: Of the chi-squared law of T_k, (x_rank - k) (y_rank - k), (r,), int64.
        p_values: Probability of at least T_k if the statement is true, (r,), float64, in [0, 1].
    """

    statistics: npt.NDArray[np.float64]
    degrees_of_freedom: npt.NDArray[np.int64]
    p_values: npt.NDArray[np.float64]

    def n_significant(self, level: float = 0.05) -> int:
        """Number of correlations that are more than chance: the first k whose statement is not rejected.

        Args:
            level: Probability of counting one too many, in (0, 1). Default 0.05.

        Raises:
            InputError: If the level is outside (0, 1).
        """
        if not 0 < level < 1:
            raise InputError(message("n_significant level", "a probability in (0, 1)", str(level)))
        kept = np.flatnonzero(self.p_values > level)
        return int(kept[0]) if kept.size else len(self.p_values)


def bartlett(correlations: ArrayLike, x_rank: int, y_rank: int, n_samples: int) -> BartlettTest:
    """Test how many canonical correlations of two real layers are more than chance.

    T_k = -(m - k - (a + b + 1) / 2 + sum_{i<=k} rho_i^-2) log prod_{i>k} (1 - rho_i^2), m = n_samples - 1, a and b the
    ranks, is close to chi-squared with (a - k)(b - k) degrees of freedom if all correlations beyond the first k are
    zero and the rows are independent and near Gaussian.

    The approximation needs samples. With k = 0 and no true correlation it rejects at the 5% level in 5% of cases at
    m = 2 (a + b) for ranks up to 3, but in 9% for ranks 10 and 20 and in 17% for 50 and 50; in 6% at m = 4 (a + b) and
    above (simulated). `permutation_null` has no such limit. Rows that depend on each other (pixels of one image,
    tokens of one text) count for less than their number, and the p-values are then too small.

    Args:
        correlations: All canonical correlations, (min(x_rank, y_rank),), largest first, in [0, 1].
        x_rank: Directions of x that took part; for SVCCA the kept ones.
        y_rank: Directions of y.
        n_samples: Number of samples.

    Returns:
        Statistics, degrees of freedom and p-values, one entry for each k.

    Raises:
        InputError: If the correlations are none, or not as many as the ranks allow.
        NonFiniteError: If one of them is NaN.
        SampleError: If x_rank + y_rank > n_samples - 1, where some correlations are 1 whatever the data.

    References:
        Bartlett (1947), "Multivariate analysis". Lawley (1959), "Tests of significance in canonical analysis". Muirhead
        (1982), "Aspects of multivariate statistical theory", section 11.3.6, whose n is m here.

    >>> import numpy as np
    >>> test = bartlett(np.array([0.9, 0.4, 0.05]), 3, 4, 200)
    >>> test.degrees_of_freedom, test.n_significant()
    (array([12,  6,  2]), 2)
    """
    rho = _checked_correlations(correlations, x_rank, y_rank)
    if x_rank + y_rank > n_samples - 1:
        raise SampleError(
            message(
                "bartlett",
                f"more samples than x_rank + y_rank = {x_rank + y_rank}",
                str(n_samples),
                "Some correlations are 1 whatever the layers hold",
                "Use more samples, or keep fewer directions",
            )
        )
    k = np.arange(len(rho))
    squares = np.where(rho < FLOAT64_EPS, 0.0, rho**2)  # what rounding leaves of a zero is one
    with np.errstate(divide="ignore"):  # a correlation of 1 gives an infinite statistic
        log_rest = np.cumsum(np.log1p(-squares)[::-1])[::-1]
        explained = np.concatenate([[0.0], np.cumsum(1 / squares)[:-1]])
    factor = n_samples - 1 - k - (x_rank + y_rank + 1) / 2 + explained
    # Behind a correlation of zero the rest is zero as well: nothing to reject, however infinite the factor.
    rejectable = log_rest < 0
    statistics = np.zeros(len(rho))
    statistics[rejectable] = -log_rest[rejectable] * factor[rejectable]
    freedom = (x_rank - k) * (y_rank - k)
    from scipy.special import chdtrc

    return BartlettTest(statistics, freedom, chdtrc(freedom, statistics))


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """A measure on the rows as they are, and on rows matched at random.

    Attributes:
        observed: The measure on the rows as they are.
        null: The same on randomly matched rows, (n_permutations,), float64, in the order of the draws.
        p_value: (1 + number of null values that reach the observed one) / (1 + n_permutations), in (0, 1].
    """

    observed: float
    null: npt.NDArray[np.float64]
    p_value: float

    @property
    def level(self) -> float:
        """Chance level: the mean over random matchings."""
        return float(self.null.mean())

    def quantile(self, share: float) -> float:
        """Value that this share of random matchings stays below; 0.95 gives a threshold at the 5% level.

        Raises:
            InputError: If the share is outside [0, 1].
        """
        if not 0 <= share <= 1:
            raise InputError(message("quantile", "a share in [0, 1]", str(share)))
        return float(np.quantile(self.null, share))


def permutation_null(
    coherence: Coherence,
    statistic: Callable[[Coherence], float],
    n_permutations: int = 1000,
    seed: int = 0,
    progress: bool | None = None,
) -> PermutationTest:
    """Test a measure against random matchings of the rows, without any assumption on the data.

    K_perm = U_x^H U_y[perm]: only the rows of the orthonormal basis of y are moved, no layer is decomposed again.
    Valid where the rows are exchangeable: one row an image or a text. Rows of one image that depend on each other
    (pixels) make the p-value too small.

    Args:
        coherence: The pair, with both bases in memory (`Coherence.from_rows`); cut by `keep` for SVCCA.
        statistic: Measure of a pair, larger for more similar layers, such as those of `svcca.core.measures`.
        n_permutations: Random matchings to draw. Default 1000; the p-value is 1 / (1 + n_permutations) at the least.
        seed: Seed of the matchings. The same seed gives the same result; no global generator is touched.
        progress: Show a progress bar; None shows it only on a terminal.

    Returns:
        Observed value, null values and p-value. Values that differ from the observed one by rounding alone count as
        reaching it, so that a measure which is 1 for any data has the p-value 1.

    Raises:
        InputError: If a layer was decomposed from moments, so that its rows are gone, or `n_permutations` is below 1.
        NonFiniteError: If the statistic gives NaN or infinity.

    Cost:
        2 n rank_x rank_y operations a permutation and what the statistic costs; memory: one batch of permuted bases,
        64 MB or one basis if that is more.

    References:
        Phipson & Smyth (2010), "Permutation p-values should never be zero".

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> pair = Coherence.from_rows(x, x[:, :2] + 1)
    >>> test = permutation_null(pair, lambda pair: float(pair.correlations.mean()), n_permutations=99)
    >>> round(test.observed, 6), test.p_value, bool(test.quantile(0.95) < 0.5)
    (1.0, 0.01, True)
    """
    x_basis, y_basis = coherence.x.basis, coherence.y.basis
    if x_basis is None or y_basis is None:
        raise InputError(
            message(
                "permutation_null",
                "subspaces that hold their basis",
                "one decomposed from moments",
                "Moments do not say which row was which",
                "Pair the layers with Coherence.from_rows, or use bartlett or the closed chance levels",
            )
        )
    if isinstance(n_permutations, bool) or not isinstance(n_permutations, int) or n_permutations < 1:
        raise InputError(message("n_permutations", "an integer of at least 1", repr(n_permutations)))
    observed = _finite(statistic(coherence), "the observed rows")
    null = np.empty(n_permutations)
    matchings = _matchings(coherence, x_basis, y_basis, n_permutations, seed)
    steps = track(range(n_permutations), "permutations", progress)
    for step, matched in zip(steps, matchings, strict=True):
        null[step] = _finite(statistic(matched), f"permutation {step}")
    # Half the digits: far more than rounding moves a value, far less than two matchings differ by.
    rounding = math.sqrt(torch.finfo(coherence.matrix.dtype).eps) * max(abs(observed), float(np.abs(null).max()))
    reached = int((null >= observed - rounding).sum())
    return PermutationTest(observed, null, (1 + reached) / (1 + n_permutations))


def _matchings(
    coherence: Coherence, x_basis: Tensor, y_basis: Tensor, n_permutations: int, seed: int
) -> Iterator[Coherence]:
    """Coherences of randomly matched rows; a batch of permuted bases side by side makes one product of many."""
    rng = np.random.default_rng(seed)
    n_samples, y_rank = y_basis.shape
    batch = max(1, _BATCH_ELEMENTS // y_basis.numel())
    for first in range(0, n_permutations, batch):
        orders = [rng.permutation(n_samples) for _ in range(min(batch, n_permutations - first))]
        index = torch.from_numpy(np.stack(orders, axis=1)).to(y_basis.device)
        permuted = y_basis[index]  # (n_samples, batch, y_rank)
        products = cross_product(x_basis, permuted.reshape(n_samples, -1)).reshape(-1, len(orders), y_rank)
        for i in range(len(orders)):
            yield replace(coherence, y=replace(coherence.y, basis=permuted[:, i]), matrix=products[:, i])


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        # NaN would compare as never reached, which reads as a perfect p-value.
        raise NonFiniteError(message("permutation_null", "a finite statistic", f"{value} for {where}"))
    return float(value)


def _checked_correlations(correlations: ArrayLike, x_rank: int, y_rank: int) -> npt.NDArray[np.float64]:
    where = "bartlett correlations"
    tensor = to_tensor(correlations, where)
    if tensor.ndim != 1 or len(tensor) != min(x_rank, y_rank) or len(tensor) == 0 or tensor.is_complex():
        raise InputError(
            message(
                where,
                f"min(x_rank, y_rank) = {min(x_rank, y_rank)} real values, at least 1",
                f"shape {tuple(tensor.shape)}, {str(tensor.dtype).removeprefix('torch.')}",
                remedy="Pass all of them, the small ones included",
            )
        )
    check_finite(tensor, where)
    rho = to_numpy(tensor).astype(np.float64)
    if rho.min() < 0 or rho.max() > 1 or bool((np.diff(rho) > 0).any()):
        raise InputError(
            message(
                where,
                "values in [0, 1], largest first",
                f"values from {rho.min():.6g} to {rho.max():.6g}, the first {rho[0]:.6g}",
                remedy="Sort them, and clip what rounding put beyond 1",
            )
        )
    return rho
