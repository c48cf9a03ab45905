"""Three solvers from two arrays to one answer, chosen by shape and condition or by name."""

from __future__ import annotations

from typing import Literal

from svcca.core.arrays import ArrayLike, check_same_samples, to_rows
from svcca.core.coherence import Coherence
from svcca.core.moments import JointMoments
from svcca.core.scatter import FLOAT64, Precision, check_precision
from svcca.core.subspace import ILL_CONDITIONED, WHOLE, SVDStep
from svcca.core.tsqr import JointQR
from svcca.errors import unknown_option

Solver = Literal["auto", "moments", "gram", "qr"]


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

    Args:
        x: Activations (n_samples, p).
        y: Activations (n_samples, q) of the same samples.
        step: The SVD step.
        solver: "moments" (scatter matrices; error about 1e-16 times the squared condition of the kept directions),
            "gram" (the bases of the samples, by way of the n x n Gram matrix where a layer is wider than n), "qr" (no
            squares: any condition). "auto": gram where a layer is wider than n or the rows are needed, moments
            otherwise, qr where these turn out ill-conditioned.
        precision: Of the products over samples; "float32" is for "moments" and "gram".
        rows_needed: Whether the subspaces must hold their bases.

    Raises:
        InputError: For arrays that are no activations.
        UnknownOptionError: For a solver or precision that does not exist.
    """
    rows_x, rows_y = to_rows(x, "x"), to_rows(y, "y")
    check_same_samples(rows_x, rows_y, "x and y")
    check_precision(precision)
    automatic = solver == "auto"
    if automatic:
        wide = max(rows_x.shape[1], rows_y.shape[1]) > rows_x.shape[0]
        solver = "gram" if wide or rows_needed else "moments"
    if solver == "gram":
        return Coherence.from_rows(rows_x, rows_y, step=step, precision=precision)
    if solver == "moments":
        moments = JointMoments.from_rows(rows_x, rows_y, precision=precision)
        coherence = Coherence.from_moments(moments, step=step)
        good = max(coherence.x.condition, coherence.y.condition) < ILL_CONDITIONED
        if good or not automatic or precision == "float32":
            return coherence
        solver = "qr"
    if solver == "qr":
        return JointQR.from_rows(rows_x, rows_y).to_coherence().truncate(step)
    raise unknown_option("solver", "solver", solver, ["auto", "moments", "gram", "qr"])
