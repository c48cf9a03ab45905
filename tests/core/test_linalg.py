import numpy as np
import pytest
import torch

import reference as ref
from svcca.core.linalg import eigh_descending, largest_loading_positive, rank_rtol, svd
from svcca.errors import SolverError


def failing(monkeypatch, name, times):
    """Let a solver of torch.linalg fail to converge the first `times` times; returns the shapes it was called with."""
    solver = getattr(torch.linalg, name)
    shapes = []

    def wrapper(matrix, **options):
        shapes.append(tuple(matrix.shape))
        if len(shapes) <= times:
            raise torch.linalg.LinAlgError(f"{name} failed to converge")
        return solver(matrix, **options)

    monkeypatch.setattr(torch.linalg, name, wrapper)
    return shapes


def scatter_of(seed, n_samples=40, n_features=6):
    x = ref.centred(ref.gaussian(seed, n_samples, n_features))
    return torch.from_numpy(x.T @ x)


def test_the_rank_cut_of_float32_is_set_by_the_rounding_of_the_data():
    assert 2.0**-23 < rank_rtol(512, 2.0**-23) <= 512 * 2.0**-23


def test_the_rank_cut_of_float64_is_set_by_the_squared_spectrum():
    assert rank_rtol(512, ref.EPS) == np.sqrt(512 * ref.EPS)


@pytest.mark.parametrize("size", [128, 1024, 4096])
@pytest.mark.parametrize("eps", [2.0**-7, 2.0**-10], ids=["bfloat16", "float16"])
def test_the_rank_cut_of_half_precision_never_rules_out_the_largest_direction(size, eps):
    assert rank_rtol(size, eps) < 1


def test_eigenvalues_come_largest_first_with_their_vectors():
    scatter = scatter_of(0)
    values, vectors, _notes = eigh_descending(scatter)
    assert (values.diff() <= 0).all()
    assert torch.allclose((vectors * values) @ vectors.T, scatter, rtol=0, atol=ref.rounding(6) * float(values[0]))


def test_eigenvalues_are_never_negative():
    x = ref.gaussian(0, 5, 9)
    assert (eigh_descending(torch.from_numpy(x.T @ x))[0] >= 0).all()


def test_eigh_that_does_not_converge_falls_back_on_the_svd(monkeypatch):
    scatter = scatter_of(1)
    expected_values, expected_vectors, _ = eigh_descending(scatter)
    failing(monkeypatch, "eigh", 1)
    values, vectors, _notes = eigh_descending(scatter)
    tolerance = ref.rounding(6) * float(values[0])
    assert torch.allclose(values, expected_values, rtol=0, atol=tolerance)
    # Up to sign each; the gaps of this spectrum are of the order of its values.
    overlaps = (vectors.T @ expected_vectors).abs()
    assert torch.allclose(overlaps, torch.eye(6, dtype=torch.float64), rtol=0, atol=100 * ref.rounding(6))


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5)])
def test_svd_that_does_not_converge_is_retried_by_qr(monkeypatch, shape):
    matrix = torch.from_numpy(ref.gaussian(2, *shape))
    shapes = failing(monkeypatch, "svd", 1)
    u, s, vh, _notes = svd(matrix)
    assert len(shapes) == 2
    assert u.shape == (shape[0], 4 if 4 in shape else 5)
    assert torch.allclose((u * s) @ vh, matrix, rtol=0, atol=ref.rounding(7) * float(s[0]))
    assert torch.allclose(u.T @ u, torch.eye(u.shape[1], dtype=torch.float64), rtol=0, atol=ref.rounding(7))


def test_svd_that_converges_by_no_route_says_so(monkeypatch):
    failing(monkeypatch, "svd", 2)
    with pytest.raises(
        SolverError, match=r"svd: expected convergence; got none for shape \(3, 2\)\. svd failed to conv"
    ):
        svd(torch.ones(3, 2))


def test_eigh_that_converges_by_no_route_says_so(monkeypatch):
    failing(monkeypatch, "eigh", 1)
    failing(monkeypatch, "svd", 2)
    with pytest.raises(SolverError, match="svd: expected convergence"):
        eigh_descending(scatter_of(0))


def test_signs_make_the_largest_loading_positive():
    vectors = torch.tensor([[1.0, -1.0], [-3.0, 0.5]])
    assert (vectors * largest_loading_positive(vectors)).tolist() == [[-1.0, 1.0], [3.0, -0.5]]


def test_phases_make_the_largest_loading_of_a_complex_vector_real_and_positive():
    vectors = torch.from_numpy(ref.gaussian(3, 5, 3) + 1j * ref.gaussian(4, 5, 3))
    turned = vectors * largest_loading_positive(vectors)
    largest = turned.gather(0, turned.abs().argmax(dim=0, keepdim=True))
    assert torch.allclose(largest, vectors.abs().max(dim=0).values.to(largest.dtype), rtol=4 * ref.EPS, atol=0)


def test_a_column_of_zeros_keeps_its_sign():
    assert largest_loading_positive(torch.zeros(3, 2)).tolist() == [1.0, 1.0]
