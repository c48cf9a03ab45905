"""A permutation test of any measure: is a similarity more than random pairings of the rows give?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike
from svcca.core.coherence import Coherence
from svcca.core.scatter import cross_product
from svcca.core.solvers import coherence_of
from svcca.core.subspace import WHOLE, SVDStep
from svcca.errors import InputError, NonFiniteError, message
from svcca.measures.evaluate import number
from svcca.measures.measure import Measure
from svcca.measures.registry import get_measure
from svcca.progress import track

_BATCH_ELEMENTS = 2**23
"""Numbers in one batch of permuted bases: 64 MB, and products large enough to run at full speed."""


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


def permutation_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    measure: str | Measure = "svcca",
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
        measure: Name of a measure, or a measure.
        retained_variance: Share of variance that measures with an SVD step keep.
        n_permutations: Number of random pairings.
        seed: Seed of the random pairings.
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

    def statistic(pair: Coherence) -> float:
        return number(chosen, chosen.value, pair, "x and y")

    where = f"permutation_test of {chosen.label}"
    return permutation_null(coherence, statistic, n_permutations, seed, progress, where)


def permutation_null(
    coherence: Coherence,
    statistic: Callable[[Coherence], float],
    n_permutations: int = 1000,
    seed: int = 0,
    progress: bool | None = None,
    where: str = "permutation_null",
) -> PermutationTest:
    """Test a measure against random matchings of the rows, without any assumption on the data.

    K_perm = U_x^H U_y[perm]: only the rows of the orthonormal basis of y are moved, no layer is decomposed again.
    Valid where the rows are exchangeable: one row an image or a text. Rows of one image that depend on each other
    (pixels) make the p-value too small.

    Args:
        coherence: The pair, with both bases in memory (`Coherence.from_rows`); cut by `truncate` for SVCCA.
        statistic: Measure of a pair, larger for more similar layers, such as `Measure.value`.
        n_permutations: Random matchings to draw. Default 1000; the p-value is 1 / (1 + n_permutations) at the least.
        seed: Seed of the matchings. The same seed gives the same result; no global generator is touched.
        progress: Show a progress bar; None shows it only on a terminal.
        where: The call and the measure, for messages.

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
    observed = _finite(statistic(coherence), "the observed rows", where)
    null = np.empty(n_permutations)
    matchings = _matchings(coherence, x_basis, y_basis, n_permutations, seed)
    steps = track(range(n_permutations), "permutations", progress)
    for step, matched in zip(steps, matchings, strict=True):
        null[step] = _finite(statistic(matched), f"permutation {step}", where)
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


def _finite(value: float, rows: str, where: str) -> float:
    if not math.isfinite(value):
        # NaN would compare as never reached, which reads as a perfect p-value.
        raise NonFiniteError(message(where, "a finite statistic", f"{value} for {rows}"))
    return float(value)
