"""CCA and SVCCA of two layers: the measures, and correlations, directions and what they are worth."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from svcca.core.arrays import ArrayLike, accumulator_dtype, check_same_samples, to_numpy, to_rows
from svcca.core.coherence import Coherence, LayerPair
from svcca.core.linalg import FLOAT64_EPS, largest_loading_positive
from svcca.core.moments import JointMoments
from svcca.core.scatter import FLOAT64, Precision
from svcca.core.solvers import Solver, coherence_of
from svcca.core.subspace import WHOLE, CutBy, SVDStep
from svcca.errors import InputError, RankError, SvccaWarning, message
from svcca.measures import levels
from svcca.measures.bartlett import BartlettTest, bartlett
from svcca.measures.evaluate import evaluate, evaluate_arrays
from svcca.measures.measure import Measure
from svcca.measures.similarity import Similarity, announced

LEADING = "of the leading singular directions that hold 99% (or the share asked for) of each layer's variance"
"""How the definition of a measure names what its SVD step keeps."""


@dataclass(frozen=True)
class CCA(Measure):
    """Mean canonical correlation, sum(rho) / min(rank_x, rank_y); in [0, 1]."""

    name = "cca"
    definition = "mean of all canonical correlations (Hotelling 1936)"
    from_correlations = True

    def value(self, pair: LayerPair) -> float:
        """Return the mean correlation."""
        return float(pair.correlations.mean())

    def chance(self, pair: LayerPair) -> float:
        """Return the mean of Wachter's law."""
        return levels.mean_correlation(pair)


@dataclass(frozen=True)
class SVCCA(CCA):
    """Singular vector CCA: the mean canonical correlation after the SVD step; in [0, 1]."""

    name = "svcca"
    definition = f"mean canonical correlation {LEADING} (Raghu et al. 2017)"
    svd_step = True


@dataclass(frozen=True)
class R2CCA(Measure):
    """Mean squared canonical correlation, sum(rho^2) / min(rank_x, rank_y); in [0, 1]. Yanai's GCD up to scaling."""

    name = "r2_cca"
    definition = "mean of all squared canonical correlations (Yanai 1974)"
    from_correlations = True

    def value(self, pair: LayerPair) -> float:
        """Return the mean squared correlation."""
        return float(pair.correlations.square().mean())

    def chance(self, pair: LayerPair) -> float:
        """Return max(rank_x, rank_y) / (n - 1), or its mean over the blocks."""
        return levels.mean_squared_correlation(pair)


@dataclass(frozen=True)
class R2SVCCA(R2CCA):
    """Mean squared canonical correlation after the SVD step; in [0, 1]."""

    name = "svcca_r2"
    definition = f"mean squared canonical correlation {LEADING} (Kornblith et al. 2019)"
    svd_step = True


@dataclass(frozen=True, eq=False)
class CCAResult(Similarity):
    """Canonical correlations and directions of two layers; `similarity` is the mean correlation.

    Attributes:
        correlations: Canonical correlations, (r,), float64, largest first, in [0, 1]; r = min(x_rank, y_rank).
        x_mean: Mean of each unit of x, (p,).
        y_mean: Mean of each unit of y, (q,).
        step: The SVD step that was taken.
    """

    correlations: npt.NDArray[np.float64]
    x_mean: npt.NDArray[Any]
    y_mean: npt.NDArray[Any]
    step: SVDStep
    _coherence: Coherence = field(repr=False)

    @property
    def x_directions(self) -> npt.NDArray[Any]:
        """Canonical directions in units of x, (p, r); computed when first asked for.

        (x - x_mean) @ x_directions are uncorrelated columns of unit variance (ddof 1). The entry of largest magnitude
        in each is positive.
        """
        return self._directions[0]

    @property
    def y_directions(self) -> npt.NDArray[Any]:
        """The same for y, (q, r), with the sign that makes each correlation positive."""
        return self._directions[1]

    @cached_property
    def _directions(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        cut, r = self._coherence, len(self.correlations)
        a, _, bh, notes = cut.factors
        for note in notes:
            warnings.warn(f"canonical directions: {note}", SvccaWarning, stacklevel=4)
        unit = math.sqrt(cut.n_samples - 1)
        x_directions = cut.x.whitener.to(a.dtype) @ a[:, :r] * unit
        signs = largest_loading_positive(x_directions)
        y_directions = cut.y.whitener.to(a.dtype) @ bh.mH[:, :r] * unit
        return to_numpy(x_directions * signs), to_numpy(y_directions * signs)

    @classmethod
    def from_coherence(cls, coherence: Coherence, step: SVDStep = WHOLE) -> CCAResult:
        """Return correlations and directions from the coherence of two layers, after the SVD step."""
        cut = coherence.truncate(step)
        # Cut above, once: the correlations that the measure takes its mean of are those of the result.
        result = evaluate(CCA() if step == WHOLE else SVCCA(), cut, WHOLE)
        return cls(
            **vars(result),
            correlations=to_numpy(cut.correlations),
            x_mean=to_numpy(cut.x.mean),
            y_mean=to_numpy(cut.y.mean),
            step=step,
            # The bases of the samples are not needed any more, and a result must not keep them alive.
            _coherence=replace(cut, x=replace(cut.x, basis=None), y=replace(cut.y, basis=None)),
        )

    @classmethod
    def from_moments(cls, moments: JointMoments, step: SVDStep = WHOLE) -> CCAResult:
        """Return correlations and directions from joint moments: no sample is needed any more."""
        return cls.from_coherence(Coherence.from_moments(moments), step)

    def bartlett(self) -> BartlettTest:
        """Bartlett's test of how many correlations differ from zero; assumes Gaussian layers, see `bartlett`.

        Raises:
            SampleError: If the ranks together exceed n - 1.
        """
        return bartlett(self.correlations, self.x_rank, self.y_rank, self.n_samples)

    def transform(self, x: ArrayLike) -> npt.NDArray[Any]:
        """Canonical variates of rows of x, seen or new: (x - x_mean) @ x_directions, (n_rows, r), float64.

        Raises:
            InputError: If the rows are no activations of that width.
        """
        return _variates(x, self.x_mean, self.x_directions, "transform x")

    def transform_y(self, y: ArrayLike) -> npt.NDArray[Any]:
        """Canonical variates of rows of y: (y - y_mean) @ y_directions, (n_rows, r), float64."""
        return _variates(y, self.y_mean, self.y_directions, "transform y")

    def held_out(self, x: ArrayLike, y: ArrayLike) -> npt.NDArray[np.float64]:
        """Correlation of each pair of canonical variates on other rows than the fit, (r,), in [-1, 1].

        In-sample correlations rise with the number of directions whatever the data; these do not.

        Args:
            x: Rows of the first layer that the fit has not seen, (n_rows, p), two at least.
            y: Rows of the second layer over the same samples.

        Raises:
            InputError: If the rows are no activations of the fitted widths.
            RankError: If a variate varies over them by no more than rounding.
        """
        check_same_samples(to_rows(x, "held_out x"), to_rows(y, "held_out y"), "held_out")
        _check_varies(x, self.x_mean, self.x_directions, "held_out x")
        _check_varies(y, self.y_mean, self.y_directions, "held_out y")
        u, v = self.transform(x), self.transform_y(y)
        u, v = u - u.mean(axis=0), v - v.mean(axis=0)
        lengths = np.linalg.norm(u, axis=0) * np.linalg.norm(v, axis=0)
        correlations: npt.NDArray[np.float64] = np.real((u.conj() * v).sum(axis=0)) / lengths
        return correlations.clip(-1.0, 1.0)


def _check_varies(x: ArrayLike, mean: npt.NDArray[Any], directions: npt.NDArray[Any], where: str) -> None:
    """Raise RankError if a canonical variate varies by no more than its rounding error over these rows.

    Two such variates would correlate by chance, and over equal rows by exactly 1 or -1.
    """
    variates, rows = _variates(x, mean, directions, where), _in_float64(x, where)
    spread = np.abs(variates - variates[0]).max(axis=0)
    # The bound on the rounding of a product of n_features terms, at both ends of the range.
    magnitude = ((np.abs(rows) + np.abs(mean)) @ np.abs(directions)).max(axis=0)
    constant = np.flatnonzero(~(spread > 2 * len(mean) * FLOAT64_EPS * magnitude))  # not <=: an overflow is caught too
    if len(constant):
        expected, got = "canonical variates that vary between the rows", f"a constant one (pair {constant[0]})"
        raise RankError(message(where, expected, got, "The rows are alike along that direction", "Use more rows"))


def _variates(rows: ArrayLike, mean: npt.NDArray[Any], directions: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    wide = _in_float64(rows, where)
    if wide.shape[1] != len(mean):
        raise InputError(message(where, f"{len(mean)} features, as in the fit", str(wide.shape[1])))
    variates: npt.NDArray[Any] = (wide - mean) @ directions
    return variates


def _in_float64(rows: ArrayLike, where: str) -> npt.NDArray[Any]:
    checked: Tensor = to_rows(rows, where, least=1)
    return to_numpy(checked.to(accumulator_dtype(checked.dtype)))


def cca(x: ArrayLike, y: ArrayLike, *, solver: Solver = "auto", precision: Precision = FLOAT64) -> CCAResult:
    """Canonical correlation analysis of two layers, all directions above the numerical rank.

    Correlations are the singular values of U_x^H U_y, U the orthonormal bases of the centred layers.

    Args:
        x: Activations (n_samples, p): NumPy, torch on any device, or anything with `__dlpack__` or `__array__`.
        y: Activations (n_samples, q) of the same samples in the same order.
        solver: "auto" (default), "moments", "gram" or "qr": how the answer is reached; see `coherence_of`.
        precision: "float64" (default), or "float32" for the products over samples: faster, good to about 1e-4.

    Returns:
        Correlations in [0, 1], largest first, with directions, ranks, chance level and warnings, as NumPy float64.

    Raises:
        InputError: For arrays that are no activations (shape, integers), NaN, one sample, unequal rows, rank 0.

    Cost:
        2 n (p^2 + q^2 + p q) operations and two eigendecompositions; for p > n the n x n Gram matrix instead; where the
        layers turn out ill-conditioned, a QR factorisation of both, 2 n (p + q)^2, on top.

    References:
        Hotelling (1936), "Relations between two sets of variates".

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> cca(x, x @ [[1., 2.], [0., 1.], [1., 0.]] + 5).correlations.round(6)
    array([1., 1.])
    """
    return announced(CCAResult.from_coherence(coherence_of(x, y, solver=solver, precision=precision)))


def svcca(
    x: ArrayLike,
    y: ArrayLike,
    *,
    retained_variance: float = 0.99,
    n_components: int | None = None,
    by: CutBy = "variance",
    solver: Solver = "auto",
    precision: Precision = FLOAT64,
) -> CCAResult:
    """Singular vector CCA of two layers: both cut to their leading singular directions, then CCA.

    `similarity` is the mean correlation, sum(rho) / min(x_rank, y_rank).

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        retained_variance: Share of each layer's variance to keep, in (0, 1]. Default 0.99.
        n_components: Keep this many directions of each layer instead.
        by: "variance" (default) takes the share of the squared singular values, as the NeurIPS text; "singular_values"
            of the singular values themselves, as its appendix, which keeps more.
        solver: As in `cca`.
        precision: As in `cca`.

    Returns:
        As `cca`; `x_rank` and `y_rank` are the kept directions. Read them beside the similarity: a high mean over few
        directions and over many are different findings.

    Raises:
        InputError: As `cca`, and for a share outside (0, 1] or more components than a layer has.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 2.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 4))
    >>> result = svcca(x, x[:, ::-1] * 3 + 1)
    >>> round(result.similarity, 6), result.x_rank, result.y_rank
    (1.0, 4, 4)
    """
    step = SVDStep(retained_variance, n_components, by)
    coherence = coherence_of(x, y, step=step, solver=solver, precision=precision)
    return announced(CCAResult.from_coherence(coherence, step))


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
    return announced(evaluate_arrays(R2CCA(), x, y))
