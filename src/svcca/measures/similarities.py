"""Several measures of two arrays from one decomposition."""

from __future__ import annotations

from collections.abc import Sequence

from svcca.core.arrays import ArrayLike
from svcca.core.scatter import FLOAT64, Precision
from svcca.core.solvers import coherence_of
from svcca.core.subspace import WHOLE, SVDStep
from svcca.measures.evaluate import evaluate_all
from svcca.measures.measure import Measure
from svcca.measures.registry import get_measures
from svcca.measures.similarity import Similarity, announced


def similarities(
    x: ArrayLike,
    y: ArrayLike,
    measures: Sequence[str | Measure],
    *,
    retained_variance: float = 0.99,
    precision: Precision = FLOAT64,
) -> dict[str, Similarity]:
    """Several measures of two layers from one decomposition.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples in the same order.
        measures: Names (`svcca.MEASURES` lists them) or measures, such as `svcca.measures.PWCCA(side="x")`.
        retained_variance: Share of variance that the measures with an SVD step keep.
        precision: As in `cca`.

    Returns:
        Each measure's value with ranks, chance level and warnings, by its label.

    Raises:
        UnknownOptionError: For a measure that does not exist.
        InputError: As `cca`, and for the same measure twice.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 4))
    >>> {name: round(float(value), 6) for name, value in similarities(x, 2 * x, ["svcca", "linear_cka"]).items()}
    {'svcca': 1.0, 'linear_cka': 1.0}
    """
    if not measures:
        return {}
    chosen, step = get_measures(measures), SVDStep(retained_variance)
    rows_needed = any(measure.needs_rows for measure in chosen)
    only_cut = all(measure.svd_step for measure in chosen)
    pair = coherence_of(x, y, step=step if only_cut else WHOLE, precision=precision, rows_needed=rows_needed)
    results = {}
    for result in evaluate_all(chosen, pair, step):
        results[result.measure] = announced(result)
    return results
