"""PLS and PCA: against scikit-learn and NumPy, and their effective dimensions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSSVD
from sklearn.decomposition import PCA

import reference as ref
from svcca.errors import RankError
from svcca.measures import pca, pls

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 5)
# Two layers of `ref.related` have condition numbers up to about 10; the slack is for the rare worse draw.
TOLERANCE = ref.rounding(100, 30)


# -- PLS --------------------------------------------------------------------------------------------------------------


@given(seed=seeds, p=widths, q=widths)
def test_pls_is_the_svd_of_the_cross_covariance(seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    result, r = pls(x, y), min(p, q)
    cross = ref.centred(x).T @ ref.centred(y) / 99
    expected = np.linalg.svd(cross, compute_uv=False)
    scale = expected[0]
    np.testing.assert_allclose(result.covariances, expected, rtol=0, atol=TOLERANCE * scale)
    np.testing.assert_allclose(result.covariance_ratio, expected**2 / (expected**2).sum(), rtol=0, atol=TOLERANCE)
    assert (result.x_directions.shape, result.y_directions.shape, result.n_samples) == ((p, r), (q, r), 100)
    rebuilt = result.x_directions * result.covariances @ result.y_directions.T
    np.testing.assert_allclose(rebuilt, cross, rtol=0, atol=TOLERANCE * scale)
    np.testing.assert_allclose(result.x_directions.T @ result.x_directions, np.eye(r), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(result.y_directions.T @ result.y_directions, np.eye(r), rtol=0, atol=TOLERANCE)
    pivots = np.take_along_axis(result.x_directions, np.abs(result.x_directions).argmax(axis=0)[None], axis=0)
    assert (pivots > 0).all()
    np.testing.assert_allclose(result.x_mean, x.mean(axis=0), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(result.y_mean, y.mean(axis=0), rtol=0, atol=TOLERANCE)


def test_pls_directions_are_scikit_learns_up_to_sign():
    x, y = ref.gaussian(0, 300, 5) * [5.0, 3.0, 2.0, 1.0, 0.5], ref.gaussian(1, 300, 3)
    y[:, :3] += x[:, :3]
    result, peer = pls(x, y), PLSSVD(n_components=3, scale=False).fit(x, y)
    overlaps = np.abs(result.x_directions.T @ peer.x_weights_), np.abs(result.y_directions.T @ peer.y_weights_)
    for overlap in overlaps:
        np.testing.assert_allclose(overlap, np.eye(3), rtol=0, atol=1e3 * TOLERANCE)


def test_pls_variates_have_the_covariances_and_nothing_across():
    x, y = ref.related(2, 100, 4, 5)
    result = pls(x, y)
    u, v = (x - result.x_mean) @ result.x_directions, (y - result.y_mean) @ result.y_directions
    got = u.T @ v / 99
    np.testing.assert_allclose(got, np.diag(result.covariances), rtol=0, atol=TOLERANCE * result.covariances[0])


def test_pls_of_complex_layers_is_the_svd_of_their_cross_covariance():
    x = ref.gaussian(0, 100, 3) + 1j * ref.gaussian(1, 100, 3)
    y = x[:, :2] * (1 + 2j) + ref.gaussian(2, 100, 2)
    result = pls(x, y)
    cross = ref.centred(x).conj().T @ ref.centred(y) / 99
    rebuilt = result.x_directions * result.covariances @ result.y_directions.conj().T
    np.testing.assert_allclose(rebuilt, cross, rtol=0, atol=TOLERANCE * result.covariances[0])


def test_pls_of_wide_layers_is_the_svd_of_their_cross_covariance():
    x, y = ref.gaussian(0, 30, 50), ref.gaussian(1, 30, 4)
    result = pls(x, y)
    expected = np.linalg.svd(ref.centred(x).T @ ref.centred(y) / 29, compute_uv=False)
    np.testing.assert_allclose(result.covariances, expected, rtol=0, atol=TOLERANCE * expected[0])


# -- PCA --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(100, 6), (20, 50)], ids=["tall", "wide"])
def test_pca_is_scikit_learns(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) * 1.3 ** -np.arange(shape[1]) + rng.normal(size=shape[1])
    result = pca(x)
    rank = min(shape[0] - 1, shape[1])
    peer = PCA(svd_solver="full").fit(x)
    scale = peer.singular_values_[0]
    assert result.singular_values.shape == (rank,)
    np.testing.assert_allclose(result.singular_values, peer.singular_values_[:rank], rtol=0, atol=TOLERANCE * scale)
    np.testing.assert_allclose(result.explained_variance_ratio, peer.explained_variance_ratio_[:rank], atol=TOLERANCE)
    np.testing.assert_allclose(result.mean, peer.mean_, rtol=0, atol=TOLERANCE)
    overlap = np.abs(peer.components_[:rank] @ result.directions)
    np.testing.assert_allclose(overlap, np.eye(rank), rtol=0, atol=1e3 * TOLERANCE)
    assert result.n_samples == shape[0]


@given(seed=seeds, p=st.integers(1, 8))
def test_effective_dimensions_are_the_oracles(seed, p):
    x = ref.related(seed, 100, p, 1)[0]
    result = pca(x)
    assert result.rank_99 == ref.kept_rank(x, 0.99)
    assert result.participation_ratio == pytest.approx(ref.participation_ratio(x), rel=TOLERANCE)
    assert result.entropy_dimension == pytest.approx(ref.entropy_dimension(x), rel=TOLERANCE)
    assert 1 - TOLERANCE <= result.participation_ratio <= result.entropy_dimension + TOLERANCE <= p + 2 * TOLERANCE


@given(seed=seeds, scale=st.sampled_from([1e-8, 1e8]), offset=st.sampled_from([0.0, 100.0]))
def test_effective_dimensions_mind_neither_scale_nor_offset_nor_rotation(seed, scale, offset):
    x = ref.related(seed, 100, 5, 1)[0]
    plain = pca(x)
    moved = pca(scale * (x @ ref.orthogonal(np.random.default_rng(seed), 5) + offset))
    assert moved.participation_ratio == pytest.approx(plain.participation_ratio, rel=100 * TOLERANCE)
    assert moved.entropy_dimension == pytest.approx(plain.entropy_dimension, rel=100 * TOLERANCE)
    assert moved.rank_99 == plain.rank_99


def test_directions_of_a_layer_have_a_positive_largest_loading():
    for shape in ((100, 6), (20, 50)):
        directions = pca(ref.gaussian(0, *shape)).directions
        assert (np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0) > 0).all()


def test_duplicated_and_constant_units_add_no_direction():
    x = ref.related(0, 100, 3, 1)[0]
    result = pca(np.hstack([x, x[:, :1], np.full((100, 1), 3000.0)]))
    assert result.directions.shape == (5, 3)
    assert np.isfinite(result.singular_values).all()


def test_a_constant_layer_has_no_principal_direction():
    with pytest.raises(RankError, match=r"^pca x: expected activations that vary between samples"):
        pca(np.full((100, 3), 0.1))


@pytest.mark.parametrize("function", [pca, lambda x: pls(x, x[:, :2])], ids=["pca", "pls"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_results_are_numpy_float64(function, dtype):
    result = function(torch.from_numpy(ref.related(0, 100, 4, 1)[0]).to(dtype))
    arrays = [value for value in vars(result).values() if not isinstance(value, (int, float))]
    assert arrays
    assert all(type(array) is np.ndarray and array.dtype == np.float64 for array in arrays)
