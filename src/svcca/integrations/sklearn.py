"""CCA and SVCCA as scikit-learn estimators: fitted on some rows, scored on others."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import FLOAT_DTYPES, check_array, check_consistent_length, check_is_fitted, validate_data

from svcca.core.arrays import ArrayLike
from svcca.errors import InputError, message
from svcca.measures.cca import CCAResult, cca, svcca

__all__ = ["CCA", "SVCCA"]

Array = npt.NDArray[np.floating[Any]]
EPS = float(np.finfo(np.float64).eps)


# scikit-learn ships no types, so its classes are Any to a checker.
class _CanonicalPairs(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What both estimators share; a subclass says how two arrays are correlated."""

    n_components: int | None

    def _correlate(self, x: Array, y: Array) -> CCAResult:
        raise NotImplementedError

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Find the canonical directions of two sets of features of the same samples.

        Args:
            X: (n_samples, n_features), real. float32 and float16 are taken as they are: the numerical rank is judged
                by the precision the data came in.
            y: (n_samples, n_targets), real; (n_samples,) is one column.

        Returns:
            The estimator itself.

        Raises:
            InputError: For a parameter out of range, unequal numbers of rows, a side that is constant.
            ValueError: From scikit-learn's own checks: shape, NaN, one sample, complex numbers, no `y`.

        Warns:
            SvccaWarning: If unrelated data would correlate nearly as well over so few samples; also in `result_`.
        """
        _check_n_components(self.n_components)
        rows = {"dtype": FLOAT_DTYPES, "ensure_min_samples": 2}
        x, targets = validate_data(self, X, y, validate_separately=(rows, {**rows, "ensure_2d": False}))
        self.result_ = _leading(self._correlate(x, _columns(targets)), self.n_components)
        self.correlations_ = self.result_.correlations
        self.x_directions_, self.y_directions_ = self.result_.x_directions, self.result_.y_directions
        self.x_mean_, self.y_mean_ = self.result_.x_mean, self.result_.y_mean
        self.x_rank_, self.y_rank_ = self.result_.x_rank, self.result_.y_rank
        self.similarity_, self.chance_ = self.result_.similarity, self.result_.chance
        self.n_components_ = self._n_features_out = len(self.correlations_)
        return self

    def transform(self, X: ArrayLike, y: ArrayLike | None = None) -> Array | tuple[Array, Array]:
        """Canonical variates of rows, seen in `fit` or new: (X - x_mean_) @ x_directions_.

        Args:
            X: (n_samples, n_features).
            y: (n_samples, n_targets) of the same samples. Default None.

        Returns:
            Variates of X, (n_samples, n_components_), float64; with `y` a pair, the variates of `y` second. After
            `set_output` the first is a frame; the second stays an array, as in scikit-learn's own CCA.

        Raises:
            NotFittedError: Before `fit`.
            ValueError: For another number of features than in `fit`, NaN, unequal numbers of rows.
        """
        x, targets = self._checked(X, y)
        variates: Array = self.result_.transform(x)
        return variates if targets is None else (variates, self.result_.transform_y(targets))

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Mean correlation of the canonical variates over these rows, pair by pair.

        mean_i corr((X - x_mean_) a_i, (y - y_mean_) b_i), with a_i and b_i the fitted directions. Over the rows of
        `fit` it is the mean of `correlations_`, which is high for unrelated data too if samples are few. Over other
        rows it is an honest estimate of what the directions are worth: near 0 for unrelated data, give or take
        1 / sqrt(n_samples), and negative where a pair has the other sign there.

        Leading pairs correlate most, so that a search over `n_components` by this score favours few of them; it tells
        from where on further pairs are noise, not how many pairs there are.

        Args:
            X: (n_samples, n_features), 2 rows or more; with few rows the value says little.
            y: (n_samples, n_targets) of the same samples.

        Returns:
            A number in [-1, 1].

        Raises:
            NotFittedError: Before `fit`.
            InputError: For one row, or if a variate is the same in all these rows: its correlation is not defined.
            ValueError: As `transform`.
        """
        x, targets = self._checked(X, y)
        return float(self.result_.held_out(x, targets).mean())

    def _checked(self, X: ArrayLike, y: ArrayLike | None) -> tuple[Array, Any]:
        """Rows of X and, if given, of y as scikit-learn checks them."""
        check_is_fitted(self)
        x: Array = validate_data(self, X, reset=False, dtype=FLOAT_DTYPES)
        if y is None:
            return x, None
        targets = _columns(check_array(y, input_name="y", dtype=FLOAT_DTYPES, ensure_2d=False))
        check_consistent_length(x, targets)
        return x, targets

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


class CCA(_CanonicalPairs):
    """Canonical correlation analysis as a scikit-learn estimator.

    Directions a_i, b_i that maximise corr(X a_i, Y b_i), each uncorrelated with those before. In contrast to
    `sklearn.cross_decomposition.CCA` it does not iterate, keeps every pair by default, copes with features that are
    duplicated, constant or more than the samples, and `fit_transform(X, y)` gives the variates of X alone, so that it
    can stand in the middle of a Pipeline; `fit(X, y).transform(X, y)` gives both.

    Args:
        n_components: Number of leading canonical pairs to keep, 1 to min(x_rank_, y_rank_). Default None: all.

    Attributes:
        correlations_: Canonical correlations of the kept pairs, (n_components_,), largest first, in [0, 1].
        x_directions_: (n_features_in_, n_components_); (X - x_mean_) @ x_directions_ are uncorrelated columns of unit
            variance (ddof 1) over the rows of `fit`. The entry of largest magnitude in each is positive.
        y_directions_: The same for y, (n_targets, n_components_), with signs that make each correlation positive.
        x_mean_: (n_features_in_,).
        y_mean_: (n_targets,).
        x_rank_: Directions of X that took part.
        y_rank_: Directions of y that took part.
        similarity_: Mean of *all* min(x_rank_, y_rank_) correlations over the rows of `fit`, kept or not.
        chance_: What `similarity_` would be for unrelated data.
        result_: The `CCAResult` of the kept pairs, with what a reader must know before trusting it in `warnings`.
        n_components_: Number of pairs kept.
        n_features_in_: Number of features of X.
        feature_names_in_: Names of the features of X, (n_features_in_,), where it is a frame with such names.

    References:
        Hotelling (1936), "Relations between two sets of variates".

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> shared, x, y = rng.normal(size=(1000, 1)), rng.normal(size=(1000, 4)), rng.normal(size=(1000, 3))
    >>> x, y = x + 3 * shared, y + 3 * shared
    >>> fitted = CCA(n_components=1).fit(x[:500], y[:500])
    >>> fitted.transform(x[500:]).shape, bool(fitted.score(x[500:], y[500:]) > 0.9)
    ((500, 1), True)
    """

    def __init__(self, *, n_components: int | None = None) -> None:
        self.n_components = n_components

    def _correlate(self, x: Array, y: Array) -> CCAResult:
        return cca(x, y)


class SVCCA(_CanonicalPairs):
    """Singular vector CCA as a scikit-learn estimator: both sides cut to their leading singular directions, then CCA.

    Each side is projected on the smallest number of its singular directions that hold `retained_variance`, and the
    canonical directions are found among those; they are given in the features' own units, as for `CCA`. Unlike CCA
    it depends on how the features are scaled against each other.

    Args:
        retained_variance: Share of each side's variance to keep, in (0, 1]. Default 0.99.
        n_components: Number of leading canonical pairs to keep, 1 to min(x_rank_, y_rank_). Default None: all. It
            does not change how many singular directions are kept.

    Attributes:
        correlations_: Canonical correlations of the kept pairs, (n_components_,), largest first, in [0, 1].
        x_directions_: (n_features_in_, n_components_); (X - x_mean_) @ x_directions_ are uncorrelated columns of unit
            variance (ddof 1) over the rows of `fit`. The entry of largest magnitude in each is positive.
        y_directions_: The same for y, (n_targets, n_components_), with signs that make each correlation positive.
        x_mean_: (n_features_in_,).
        y_mean_: (n_targets,).
        x_rank_: Singular directions of X that were kept.
        y_rank_: Singular directions of y that were kept.
        similarity_: Mean of *all* min(x_rank_, y_rank_) correlations over the rows of `fit`, kept or not: the SVCCA
            similarity of the two sides.
        chance_: What `similarity_` would be for unrelated data.
        result_: The `CCAResult` of the kept pairs, with what a reader must know before trusting it in `warnings`.
        n_components_: Number of pairs kept.
        n_features_in_: Number of features of X.
        feature_names_in_: Names of the features of X, (n_features_in_,), where it is a frame with such names.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 2.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 4)) * [10, 5, 5, 0.01]
    >>> fitted = SVCCA().fit(x, x[:, ::-1] + 1)
    >>> fitted.x_rank_, round(fitted.similarity_, 6), fitted.get_feature_names_out().tolist()
    (3, 1.0, ['svcca0', 'svcca1', 'svcca2'])
    """

    def __init__(self, *, retained_variance: float = 0.99, n_components: int | None = None) -> None:
        self.retained_variance = retained_variance
        self.n_components = n_components

    def _correlate(self, x: Array, y: Array) -> CCAResult:
        return svcca(x, y, retained_variance=self.retained_variance)


def _columns(y: Array) -> Array:
    """Take a single target, (n_samples,), as one column."""
    return y[:, np.newaxis] if y.ndim == 1 else y


def _check_n_components(n_components: int | None) -> None:
    """Raise InputError unless it is None or an integer from 1."""
    if n_components is None:
        return
    if not isinstance(n_components, Integral) or isinstance(n_components, bool) or n_components < 1:
        raise InputError(message("n_components", "None or an integer from 1", repr(n_components)))


def _leading(result: CCAResult, n_components: int | None) -> CCAResult:
    """Cut a result to its leading pairs; its similarity stays the mean of all.

    Raises:
        InputError: If there are not as many.
    """
    if n_components is None:
        return result
    n_pairs = len(result.correlations)
    if n_components > n_pairs:
        expected = f"at most {n_pairs}, the number of canonical pairs"
        cause = "There are as many as the smaller of the two ranks"
        raise InputError(message("n_components", expected, str(n_components), cause, "Pass None to keep all"))
    return replace(
        result,
        correlations=result.correlations[:n_components],
    )
