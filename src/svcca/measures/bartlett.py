"""Bartlett's test: how many canonical correlations are more than chance?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svcca.core.arrays import ArrayLike, check_finite, to_numpy, to_tensor
from svcca.core.linalg import FLOAT64_EPS
from svcca.errors import InputError, SampleError, message


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
    above (simulated). `permutation_test` has no such limit. Rows that depend on each other (pixels of one image,
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
