"""Rank cut-off, factorisations with a fallback, sign convention."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from svcca.errors import SolverError, message

LinAlgError = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # public, but not re-exported for checkers
FLOAT32_EPS = torch.finfo(torch.float32).eps
FLOAT64_EPS = torch.finfo(torch.float64).eps
PART_BYTES = 2**21
"""Of a batch of matrices that are factorised together."""


def rank_rtol(size: int, source_eps: float, product_eps: float = FLOAT64_EPS) -> float:
    """Give the relative cut below which a singular value of a layer counts as zero.

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


def eigh_descending(scatter: Tensor) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Eigenvalues, clipped at zero, and eigenvectors of a positive semi-definite matrix, largest first; and notes.

    Raises:
        SolverError: If neither `eigh` nor, after it, `svd` converges.
    """
    try:
        values, vectors = torch.linalg.eigh(scatter)
    except LinAlgError:
        # Divide and conquer can fail on tightly clustered spectra; the SVD of a Hermitian matrix is the same answer.
        vectors, values, _, notes = svd(scatter)
        return values, vectors, ("the eigendecomposition did not converge; the SVD was used instead", *notes)
    return values.flip(0).clamp_min(0.0), vectors.flip(1), ()


def svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...]]:
    """Thin SVD `(u, s, vh)`, retried by way of a QR factorisation; and notes on what it took.

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
        return q @ u, s, vh, ("the SVD did not converge; it was taken by way of a QR factorisation",)
    return u, s, vh, ()


def svdvals(matrix: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Singular values, retried with the singular vectors; and notes on what it took.

    Raises:
        SolverError: If no solver converges.
    """
    try:
        return torch.linalg.svdvals(matrix), ()
    except LinAlgError:
        _, s, _, notes = svd(matrix)
        return s, ("the singular values alone did not converge; they were taken with their vectors", *notes)


def batched_eigh(scatters: Tensor) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Eigenvalues, clipped at zero, and eigenvectors of many Hermitian matrices (b, p, p), largest first; and notes.

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
    return values, scatters, tuple(dict.fromkeys(notes))


def batched_svdvals(matrices: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Singular values (b, r) of many matrices (b, p, q), on as many threads as torch may use; and notes.

    Raises:
        SolverError: If one of them converges by no solver.
    """

    def values_of(part: slice) -> tuple[Tensor, tuple[str, ...]]:
        try:
            return torch.linalg.svdvals(matrices[part]), ()
        except LinAlgError:
            each = [svdvals(matrix) for matrix in matrices[part]]
            first = "the SVD of several matrices together did not converge; each was taken alone"
            more = (note for _, notes in each for note in notes)
            return torch.stack([values for values, _ in each]), (first, *more)

    # LAPACK takes small matrices one after the other; parts of the batch side by side use every core.
    if matrices.device.type == "cpu" and torch.get_num_threads() > 1:
        with _one_thread_each() as n_threads, ThreadPoolExecutor(n_threads) as pool:
            results = list(pool.map(values_of, parts(matrices)))
    else:
        results = [values_of(part) for part in parts(matrices)]
    found = dict.fromkeys(note for _, notes in results for note in notes)
    return torch.cat([values for values, _ in results]), tuple(found)


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Let each call to LAPACK use one thread, and tell how many calls may run at once.

    Threads of LAPACK's own beside ours would wait for each other: a hundred times slower was measured.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield n_threads
    finally:
        torch.set_num_threads(n_threads)


def batched_svd(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...]]:
    """Thin SVDs `(u, s, vh)` of many matrices (b, p, q), with the fallback of `svd`; and notes."""
    try:
        return (*torch.linalg.svd(matrices, full_matrices=False), ())
    except LinAlgError:
        each = [svd(matrix) for matrix in matrices]
        u, s, vh = (torch.stack(factors) for factors in list(zip(*each, strict=True))[:3])
        return u, s, vh, tuple(dict.fromkeys(note for *_, notes in each for note in notes))


def parts(matrices: Tensor) -> list[slice]:
    """Slices of a batch, small enough that a copy of one is little memory."""
    size = max(1, PART_BYTES // max(1, matrices[0].numel() * matrices.element_size()))
    return [slice(start, min(start + size, len(matrices))) for start in range(0, len(matrices), size)]


def largest_loading_positive(vectors: Tensor) -> Tensor:
    """Phase (sign, for real input) of each column that makes its entry of largest magnitude positive, shape (k,)."""
    pivot = vectors.abs().argmax(dim=0, keepdim=True)
    entries = vectors.gather(0, pivot).squeeze(0)
    return torch.where(entries == 0, torch.ones_like(entries), torch.sgn(entries)).conj()


def orthonormalised(basis: Tensor, condition: float) -> Tensor:
    """Polish an almost orthonormal basis X V / s, whose columns deviate by eps (s_1 / s_k)^2, to rounding error.

    One Newton-Schulz step, U (3 I - U^H U) / 2, squares the deviation: two matrix products, taken only where they
    matter. Beyond a deviation of 1e-7 one step is not enough and a QR factorisation is used.

    Args:
        basis: (n_samples, k).
        condition: s_1 / s_k.
    """
    if condition < 100:  # a deviation below 1e-12
        return basis
    deviation = torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device) - basis.mH @ basis
    if float(deviation.abs().max()) * basis.shape[1] < 1e-7:
        return torch.addmm(basis, basis, deviation, alpha=0.5)
    q: Tensor
    q, r = torch.linalg.qr(basis)
    return q * torch.sgn(torch.diagonal(r))
