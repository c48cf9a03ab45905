"""Rank cut-off, factorisations with a fallback, sign convention.

Every factorisation is returned as a named tuple that carries notes on what the solver had to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from svcca.errors import SolverError, message

LinAlgError = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # public, but not re-exported for checkers
FLOAT32_EPS = torch.finfo(torch.float32).eps
FLOAT64_EPS = torch.finfo(torch.float64).eps
PART_BYTES = 2**21
"""Bytes of a batch of matrices that are factorised together."""


class Eigen(NamedTuple):
    """Eigenvalues, largest first, and eigenvectors of a Hermitian matrix, or of a batch of them.

    Attributes:
        values: (p,) or (b, p), real, at least 0.
        vectors: (p, p) or (b, p, p); columns are eigenvectors.
        notes: What the solver had to do.
    """

    values: Tensor
    vectors: Tensor
    notes: tuple[str, ...] = ()


class SVD(NamedTuple):
    """Thin singular value decomposition U diag(s) V^H of a matrix (p, q), or of a batch of them; r = min(p, q).

    Attributes:
        u: (p, r) or (b, p, r).
        s: Singular values, (r,) or (b, r), real, largest first.
        vh: (r, q) or (b, r, q).
        notes: What the solver had to do.
    """

    u: Tensor
    s: Tensor
    vh: Tensor
    notes: tuple[str, ...] = ()


class SingularValues(NamedTuple):
    """Singular values alone.

    Attributes:
        s: (r,) or (b, r), real, largest first.
        notes: What the solver had to do.
    """

    s: Tensor
    notes: tuple[str, ...] = ()


def rank_rtol(size: int, source_eps: float, product_eps: float = FLOAT64_EPS) -> float:
    """Return the relative cut below which a singular value of a layer counts as zero.

    Two noises set it: rounding of the data themselves, `size * source_eps`, and rounding of the float64 scatter
    matrix, whose eigenvalues are squares, `sqrt(size * product_eps)`. Half precision takes `source_eps` alone:
    rounding of single values spreads over all directions and lifts none above it, while 512 * eps would cut everything.

    Args:
        size: Order of the eigenproblem, min(n_samples, n_features).
        source_eps: Machine epsilon of the dtype the activations came in.
        product_eps: Machine epsilon of the products over samples; 0 where no squares were taken.
    """
    from_source = size * source_eps if source_eps <= FLOAT32_EPS else source_eps
    return max(from_source, math.sqrt(size * product_eps))


def qr_rank_rtol(n_samples: int, n_features: int, source_eps: float) -> float:
    """Return the relative cut for singular values of a triangle that the QR factorisation of rows left.

    As `rank_rtol`, but nothing was squared: what is left beside the rounding of the data is that of the factorisation.
    Rows that are folded into the triangle round afresh each time, so that the noise grows as the root of the number of
    folds, which is n_samples at most: 0.3 sqrt(n_samples) eps was measured for rows folded one by one, and in chunks
    more than size * eps from 30,000 rows on.

    Args:
        n_samples: Number of rows.
        n_features: Width of the layer.
        source_eps: Machine epsilon of the dtype that the rows came in.
    """
    size = min(n_samples, n_features)
    return max(rank_rtol(size, source_eps, 0.0), (size + math.sqrt(n_samples)) * FLOAT64_EPS)


def eigh_descending(scatter: Tensor) -> Eigen:
    """Decompose a positive semi-definite matrix; eigenvalues are clipped at zero.

    Raises:
        SolverError: If neither `eigh` nor, after it, `svd` converges.
    """
    try:
        values, vectors = torch.linalg.eigh(scatter)
    except LinAlgError:
        # Divide and conquer can fail on tightly clustered spectra; the SVD of a Hermitian matrix is the same answer.
        vectors, values, _, notes = svd(scatter)
        return Eigen(values, vectors, ("the eigendecomposition did not converge; the SVD was used instead", *notes))
    return Eigen(values.flip(0).clamp_min(0.0), vectors.flip(1))


def svd(matrix: Tensor) -> SVD:
    """Compute the thin SVD, by way of a QR factorisation where the first solver does not converge.

    Raises:
        SolverError: If no solver converges.
    """
    try:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    except LinAlgError:
        q, r = torch.linalg.qr(matrix)
        try:
            u, s, vh = torch.linalg.svd(r, full_matrices=False)
        except LinAlgError as error:
            shape = tuple(matrix.shape)
            raise SolverError(message("svd", "convergence", f"none for shape {shape}", str(error))) from error
        return SVD(q @ u, s, vh, ("the SVD did not converge; it was taken by way of a QR factorisation",))
    return SVD(u, s, vh)


def svdvals(matrix: Tensor) -> SingularValues:
    """Compute singular values, with their vectors where the solver for values alone does not converge.

    Raises:
        SolverError: If no solver converges.
    """
    try:
        return SingularValues(torch.linalg.svdvals(matrix))
    except LinAlgError:
        _, s, _, notes = svd(matrix)
        first = "the singular values alone did not converge; they were taken with their vectors"
        return SingularValues(s, (first, *notes))


def batched_eigh(scatters: Tensor) -> Eigen:
    """Decompose many positive semi-definite matrices (b, p, p); eigenvalues are clipped at zero.

    The vectors are written over the matrices.

    Raises:
        SolverError: If one of them converges by no solver.
    """
    values = torch.empty(scatters.shape[:2], dtype=scatters.real.dtype, device=scatters.device)
    notes: list[str] = []
    for part in parts(scatters):
        try:
            ascending, vectors = torch.linalg.eigh(scatters[part])
            values[part], scatters[part] = ascending.flip(1).clamp_min(0.0), vectors.flip(2)
        except LinAlgError:
            notes.append("the eigendecomposition of several matrices together did not converge; each was taken alone")
            for index in range(part.start, part.stop):
                values[index], vectors, more = eigh_descending(scatters[index].clone())
                scatters[index] = vectors
                notes += more
    return Eigen(values, scatters, tuple(dict.fromkeys(notes)))


def batched_svdvals(matrices: Tensor) -> SingularValues:
    """Compute the singular values (b, r) of many matrices (b, p, q), on as many threads as torch may use.

    Raises:
        SolverError: If one of them converges by no solver.
    """

    def values_of(part: slice) -> SingularValues:
        try:
            return SingularValues(torch.linalg.svdvals(matrices[part]))
        except LinAlgError:
            each = [svdvals(matrix) for matrix in matrices[part]]
            first = "the SVD of several matrices together did not converge; each was taken alone"
            more = (note for _, notes in each for note in notes)
            return SingularValues(torch.stack([values for values, _ in each]), (first, *more))

    # LAPACK takes small matrices one after the other; parts of the batch side by side use every core.
    if matrices.device.type == "cpu" and torch.get_num_threads() > 1:
        with _one_thread_each() as n_threads, ThreadPoolExecutor(n_threads) as pool:
            results = list(pool.map(values_of, parts(matrices)))
    else:
        results = [values_of(part) for part in parts(matrices)]
    found = dict.fromkeys(note for _, notes in results for note in notes)
    return SingularValues(torch.cat([values for values, _ in results]), tuple(found))


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Restrict each call to LAPACK to one thread; yields how many calls may run at once.

    Threads of LAPACK's own beside ours would wait for each other: a hundred times slower was measured.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield n_threads
    finally:
        torch.set_num_threads(n_threads)


def batched_svd(matrices: Tensor) -> SVD:
    """Compute the thin SVDs of many matrices (b, p, q), with the fallback of `svd`."""
    try:
        return SVD(*torch.linalg.svd(matrices, full_matrices=False))
    except LinAlgError:
        each = [svd(matrix) for matrix in matrices]
        u, s, vh = (torch.stack(factors) for factors in list(zip(*each, strict=True))[:3])
        return SVD(u, s, vh, tuple(dict.fromkeys(note for *_, notes in each for note in notes)))


def parts(matrices: Tensor) -> list[slice]:
    """Cut a batch into slices small enough that a copy of one takes little memory."""
    size = max(1, PART_BYTES // max(1, matrices[0].numel() * matrices.element_size()))
    return [slice(start, min(start + size, len(matrices))) for start in range(0, len(matrices), size)]


def largest_loading_positive(vectors: Tensor) -> Tensor:
    """Return the phase (sign, for real input) that makes each column's entry of largest magnitude positive, (k,)."""
    pivot = vectors.abs().argmax(dim=0, keepdim=True)
    entries = vectors.gather(0, pivot).squeeze(0)
    return torch.where(entries == 0, torch.ones_like(entries), torch.sgn(entries)).conj()


def orthonormalised(basis: Tensor, condition: float) -> Tensor:
    """Polish an almost orthonormal basis X V / s, whose columns deviate by eps (s_1 / s_k)^2, to rounding error.

    One Newton-Schulz step, U (3 I - U^H U) / 2, squares the deviation: two matrix products, taken only where they
    matter. Beyond a deviation of 1e-7 one step is not enough and a QR factorisation is used.

    Args:
        basis: The almost orthonormal basis, (n_samples, k).
        condition: The ratio s_1 / s_k.
    """
    if condition < 100:  # a deviation below 1e-12
        return basis
    deviation = torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device) - basis.mH @ basis
    if float(deviation.abs().max()) * basis.shape[1] < 1e-7:
        return torch.addmm(basis, basis, deviation, alpha=0.5)
    q: Tensor
    q, r = torch.linalg.qr(basis)
    return q * torch.sgn(torch.diagonal(r))
