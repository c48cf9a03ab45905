"""Three solvers from two arrays to one answer, chosen by shape and condition or by name."""

from __future__ import annotations

from typing import Literal, get_args

from svcca.core.arrays import ArrayLike, to_row_pair
from svcca.core.coherence import Coherence, pair_rows
from svcca.core.moments import joint_moments_of
from svcca.core.qr import qr_coherence
from svcca.core.scatter import FLOAT64, Precision, check_precision
from svcca.core.subspace import ILL_CONDITIONED, WHOLE, SVDStep
from svcca.errors import unknown_option

Solver = Literal["auto", "moments", "gram", "qr"]
"""How two arrays are decomposed and paired; see `coherence_of`."""


def coherence_of(
    x: ArrayLike,
    y: ArrayLike,
    *,
    step: SVDStep = WHOLE,
    solver: Solver = "auto",
    precision: Precision = FLOAT64,
    rows_needed: bool = False,
) -> Coherence:
    """Decompose two layers and pair them, by the cheapest solver that is accurate enough.

    The arrays are checked here, once; what is called below takes tensors and trusts them.

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples.
        step: The SVD step; default every direction above the numerical rank.
        solver: "moments" (scatter matrices; error about 1e-16 times the squared condition of the kept directions),
            "gram" (the bases of the samples, by way of the n x n Gram matrix where a layer is wider than n), "qr" (no
            squares: any condition). "auto" (default): gram where a layer is wider than n or the rows are needed,
            moments otherwise, qr where these turn out ill-conditioned.
        precision: Precision of the products over samples; "float32" is for "moments" and "gram".
        rows_needed: Whether the subspaces must hold their bases.

    Raises:
        InputError: If one of them is not an array of activations, or they differ in their number of rows.
        UnknownOptionError: For a solver or precision that does not exist.
    """
    rows_x, rows_y = to_row_pair(x, y)
    check_precision(precision)
    if solver not in get_args(Solver):
        raise unknown_option("solver", "solver", solver, get_args(Solver))
    if solver == "qr":
        return qr_coherence(rows_x, rows_y).truncate(step)
    wide = max(rows_x.shape[1], rows_y.shape[1]) > rows_x.shape[0]
    if solver == "gram" or (solver == "auto" and (wide or rows_needed)):
        return pair_rows(rows_x, rows_y, step=step, precision=precision)
    coherence = Coherence.from_moments(joint_moments_of(rows_x, rows_y, precision), step=step)
    good = max(coherence.x.condition, coherence.y.condition) < ILL_CONDITIONED
    if good or solver == "moments" or precision == "float32":
        return coherence
    return qr_coherence(rows_x, rows_y).truncate(step)
