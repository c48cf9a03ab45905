import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

import reference as ref
from svcca.core import SVDStep
from svcca.core.moments import Moments
from svcca.core.subspace import Subspace
from svcca.errors import InputError, NonFiniteError, RankError

seeds = st.integers(0, 2**32 - 1)
from_rows = Subspace.from_rows


def from_moments(x):
    return Subspace.from_moments(Moments.from_rows(x))


both_routes = pytest.mark.parametrize("route", [from_rows, from_moments])


def low_rank(seed, n_samples, n_features, rank, mean=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, rank)) @ rng.normal(size=(rank, n_features)) + mean


def projector(vectors):
    vectors = np.asarray(vectors)
    return vectors @ vectors.conj().T


@both_routes
@given(seed=seeds, n_samples=st.integers(10, 60), n_features=st.integers(1, 9))
def test_the_decomposition_is_the_svd_of_the_centred_rows(route, seed, n_samples, n_features):
    x = ref.related(seed, n_samples, n_features, 1)[0]
    layer = route(x)
    s = ref.basis(x)[1]
    condition = s[0] / s[-1]
    tolerance = ref.rounding(n_samples, condition)
    assert layer.rank == layer.n_features == n_features
    assert layer.n_samples == n_samples
    np.testing.assert_allclose(layer.singular_values, s, rtol=tolerance, atol=0)
    np.testing.assert_allclose(layer.mean, x.mean(axis=0), rtol=0, atol=ref.rounding(n_samples) * np.abs(x).max())
    assert layer.total_variance == pytest.approx(float((s**2).sum()), rel=ref.rounding(n_samples))
    scatter = ref.centred(x).T @ ref.centred(x)
    rebuilt = (layer.directions * layer.singular_values**2) @ layer.directions.T
    np.testing.assert_allclose(rebuilt, scatter, rtol=0, atol=ref.rounding(n_samples) * s[0] ** 2)


@given(seed=seeds, n_samples=st.integers(4, 40), n_features=st.integers(1, 60))
def test_basis_values_and_directions_give_back_the_centred_rows(seed, n_samples, n_features):
    x = ref.gaussian(seed, n_samples, n_features) + 7
    layer = from_rows(x)
    s = ref.basis(x)[1]
    assume(s[-1] > 1e-3 * s[0])  # a square layer may come out nearly singular
    rebuilt = (layer.basis * layer.singular_values) @ layer.directions.T
    np.testing.assert_allclose(rebuilt, ref.centred(x), rtol=0, atol=ref.rounding(max(x.shape), 1e3))
    assert layer.rank == min(n_features, n_samples - 1)


@pytest.mark.parametrize("shape", [(50, 8), (20, 60)])
def test_the_basis_is_orthonormal(shape):
    layer = from_rows(ref.gaussian(0, *shape))
    # The smallest singular value of these is above a tenth of the largest.
    np.testing.assert_allclose(layer.basis.T @ layer.basis, np.eye(layer.rank), rtol=0, atol=ref.rounding(60, 10))


def test_the_whitener_makes_orthonormal_columns():
    x = ref.related(0, 60, 5, 5)[0]
    white = ref.centred(x) @ from_moments(x).whitener.numpy()
    np.testing.assert_allclose(white.T @ white, np.eye(5), rtol=0, atol=ref.rounding(60, 5))


@pytest.mark.parametrize(("shape", "order"), [((20, 60), 20), ((60, 20), 20)])
def test_the_smaller_of_scatter_and_gram_matrix_is_decomposed(monkeypatch, shape, order):
    eigh, shapes = torch.linalg.eigh, []
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: shapes.append(tuple(matrix.shape)) or eigh(matrix))
    from_rows(ref.gaussian(0, *shape))
    assert shapes == [(order, order)]


def test_wide_layers_agree_with_their_moments_route():
    x = low_rank(0, 30, 80, 5, mean=2.0)
    gram, moments = from_rows(x), from_moments(x)
    assert gram.rank == moments.rank == 5
    np.testing.assert_allclose(gram.singular_values, moments.singular_values, rtol=ref.rounding(80, 4), atol=0)
    np.testing.assert_allclose(
        projector(gram.directions), projector(moments.directions), rtol=0, atol=ref.rounding(80, 4)
    )


@both_routes
@pytest.mark.parametrize("shape", [(200, 30), (30, 200), (40, 40)])
def test_a_rank_deficient_layer_has_its_planted_rank(route, shape):
    assert route(low_rank(0, *shape, rank=2, mean=1.0)).rank == 2


@both_routes
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_rank_deficient_layer_in_low_precision_has_its_planted_rank(route, dtype):
    # What rounding to the dtype adds in other directions is noise, not signal.
    x = torch.from_numpy(low_rank(0, 400, 24, rank=2)).to(dtype)
    assert route(x).rank == 2


@both_routes
@pytest.mark.parametrize(("dtype", "width"), [(torch.bfloat16, 96), (torch.bfloat16, 256), (torch.float16, 256)])
def test_a_wide_layer_in_half_precision_keeps_its_independent_units(route, dtype, width):
    x = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(0)).to(dtype)
    # Its smallest singular value is about a third of its largest: far above the rounding of any dtype.
    assert route(x).rank == width


@both_routes
def test_a_duplicate_unit_adds_no_direction(route):
    x = ref.gaussian(0, 100, 4)
    assert route(np.column_stack([x, x[:, 1]])).rank == 4


@both_routes
def test_a_constant_unit_among_others_adds_no_direction(route):
    x = ref.gaussian(0, 100, 4)
    x[:, 2] = 0.1
    layer = route(x)
    assert layer.rank == 3
    assert np.abs(layer.directions[2].numpy()).max() <= ref.rounding(100)


@both_routes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [1e-3, 1e-4])
def test_a_constant_unit_far_off_hides_no_small_ones(route, dtype, spread):
    # The rounding of one unit's mean is not the noise of the others.
    x = (spread * ref.gaussian(0, 100, 4)).astype(dtype)
    x[:, 2] = 3000.1
    assert route(x).rank == 3


def test_fewer_samples_than_units_give_one_direction_less_than_samples():
    assert from_rows(ref.gaussian(0, 10, 40)).rank == 9


@both_routes
@pytest.mark.parametrize("value", [0.0, 0.1, 3000.0, -1.0 / 3.0, 1e-30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(100, 3), (1000, 40), (7, 70)])
def test_a_wholly_constant_layer_is_refused(route, value, dtype, shape):
    with pytest.raises(
        RankError, match=r"expected activations that vary between samples; got a constant layer \(rank 0"
    ):
        route(np.full(shape, value, dtype=dtype))


def test_a_constant_layer_seen_in_many_batches_is_refused():
    moments = Moments.from_rows(np.full((2, 4), 1 / 3))
    for size in range(2, 200):
        moments = moments.merge(Moments.from_rows(np.full((size, 4), 1 / 3)))
    with pytest.raises(RankError, match="got a constant layer"):
        Subspace.from_moments(moments)


@both_routes
def test_a_small_spread_about_a_large_mean_is_not_constant(route):
    # A hundred steps of float32 at 3000: well above the last digit, in which a constant may waver.
    x = np.full((50, 1), 3000, dtype=np.float32)
    x[::2] += 100 * np.spacing(np.float32(3000))
    assert route(x).rank == 1


@both_routes
def test_squares_beyond_float64_are_refused(route):
    with pytest.raises(
        NonFiniteError, match=r"expected squares within float64; got an overflow. Scale the activations"
    ):
        route(1e200 * ref.gaussian(0, 20, 2))


@both_routes
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_scale_changes_no_rank(route, scale):
    x = low_rank(0, 60, 9, rank=4)
    assert route(scale * x).rank == 4


@both_routes
def test_a_power_of_two_scales_the_values_and_nothing_else_to_the_last_bit(route):
    x = ref.gaussian(0, 60, 5)
    plain, scaled = route(x), route(2.0**-40 * x)
    assert torch.equal(scaled.singular_values, 2.0**-40 * plain.singular_values)
    assert torch.equal(scaled.directions, plain.directions)


@both_routes
@given(seed=seeds, offset=st.sampled_from([-1e3, 10.0, 1e3, 1e5]))
def test_an_offset_keeps_the_same_directions(route, seed, offset):
    x = ref.related(seed, 80, 6, 1)[0]
    plain, moved = route(x).truncate(SVDStep(0.9)), route(x + offset).truncate(SVDStep(0.9))
    assert plain.rank == moved.rank
    # Rounding at the size of the offset, over the gap between the last kept and the first cut variance.
    s = ref.basis(x)[1]
    gap = (s[plain.rank - 1] ** 2 - s[plain.rank] ** 2) / s[0] ** 2
    assume(gap > 1e-3)
    atol = ref.rounding(80) * abs(offset) / gap
    np.testing.assert_allclose(projector(plain.directions), projector(moved.directions), rtol=0, atol=atol)


@both_routes
@given(
    seed=seeds,
    n_features=st.integers(1, 12),
    share=st.floats(0.05, 0.999),
    steepness=st.floats(0.3, 1.0),
)
def test_the_cut_is_the_oracles_cut(route, seed, n_features, share, steepness):
    x = ref.gaussian(seed, 50, n_features) * steepness ** np.arange(n_features)
    assert route(x).truncate(SVDStep(share)).rank == ref.kept_rank(x, share)


def layer_of_variances(*variances):
    """Build a layer whose squared singular values are known (up to one common factor) in a random orientation."""
    n_features = len(variances)
    u = np.linalg.qr(ref.centred(ref.gaussian(0, 50, n_features)))[0]
    return (u * np.sqrt(variances)) @ ref.orthogonal(np.random.default_rng(1), n_features)


@pytest.mark.parametrize(
    ("share", "rank"),
    [(0.5, 1), (0.59, 1), (0.61, 2), (0.89, 2), (0.91, 3), (0.989, 3), (0.991, 4), (1.0, 4), (1e-9, 1)],
)
def test_the_cut_counts_squares_and_the_direction_that_crosses(share, rank):
    x = layer_of_variances(60.0, 30.0, 9.0, 1.0)
    assert from_rows(x).truncate(SVDStep(share)).rank == from_moments(x).truncate(SVDStep(share)).rank == rank


def test_a_share_of_one_keeps_the_numerical_rank():
    layer = from_rows(low_rank(0, 60, 9, rank=4))
    assert layer.truncate(SVDStep(1.0)) is layer


def test_a_share_that_rounding_never_reaches_keeps_every_direction():
    # The kept directions of a rank-deficient layer hold 1 - O(eps) of the total.
    assert from_rows(low_rank(0, 60, 9, rank=4)).truncate(SVDStep(1 - ref.EPS / 2)).rank == 4


def test_a_number_of_components_is_kept_instead():
    x = ref.gaussian(0, 30, 5)
    whole, cut = from_rows(x), from_rows(x).truncate(SVDStep(n_components=2))
    assert cut.rank == 2
    assert torch.equal(cut.singular_values, whole.singular_values[:2])
    assert torch.equal(cut.directions, whole.directions[:, :2])
    assert torch.equal(cut.basis, whole.basis[:, :2])


def test_all_components_can_be_kept():
    assert from_rows(ref.gaussian(0, 30, 5)).truncate(SVDStep(n_components=5)).rank == 5


def test_cutting_keeps_the_total_variance():
    layer = from_rows(ref.gaussian(0, 30, 5))
    assert layer.truncate(SVDStep(0.5)).total_variance == layer.total_variance


@pytest.mark.parametrize("number", [0, -1, 2.5, True])
def test_a_number_of_components_that_is_no_positive_integer_is_refused(number):
    with pytest.raises(InputError, match=f"n_components: expected a positive integer; got {number}"):
        SVDStep(n_components=number)


def test_more_components_than_the_rank_are_refused():
    with pytest.raises(InputError, match="n_components: expected at most 5, the layer's rank; got 6"):
        from_rows(ref.gaussian(0, 30, 5)).truncate(SVDStep(n_components=6))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, 99, float("nan"), float("inf")])
def test_a_share_outside_zero_to_one_is_refused(share):
    with pytest.raises(
        InputError, match=r"retained_variance: expected a share in \(0, 1\]; got .* The paper uses 0.99"
    ):
        from_rows(ref.gaussian(0, 30, 5)).truncate(SVDStep(share))


@both_routes
def test_explained_variance_ratios_and_directions_are_those_of_pca(route):
    x = ref.related(0, 80, 5, 1)[0]
    layer, pca = route(x), PCA(svd_solver="full").fit(x)
    np.testing.assert_allclose(layer.explained_variance_ratio, pca.explained_variance_ratio_, rtol=ref.rounding(80, 5))
    overlaps = np.abs(pca.components_ @ layer.directions.numpy())
    # The gaps of this spectrum are above a hundredth of its largest value.
    np.testing.assert_allclose(overlaps, np.eye(5), rtol=0, atol=100 * ref.rounding(80))


def test_explained_variance_ratios_after_a_cut_are_shares_of_the_whole():
    x = layer_of_variances(60.0, 30.0, 9.0, 1.0)
    np.testing.assert_allclose(
        from_rows(x).truncate(SVDStep(0.8)).explained_variance_ratio, [0.6, 0.3], rtol=ref.rounding(50)
    )


@both_routes
def test_the_largest_loading_of_each_direction_is_positive(route):
    directions = route(ref.gaussian(0, 40, 6)).directions.numpy()
    assert (np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0) > 0).all()


def test_both_routes_give_the_same_signs():
    x = ref.gaussian(0, 40, 6)
    np.testing.assert_allclose(from_rows(x).directions, from_moments(x).directions, rtol=0, atol=ref.rounding(40, 100))


def test_signs_of_the_basis_follow_the_directions():
    x = ref.gaussian(0, 40, 6)
    layer = from_rows(x)
    np.testing.assert_allclose(layer.basis, ref.centred(x) @ layer.whitener.numpy(), rtol=0, atol=ref.rounding(40, 10))


def test_a_layer_from_moments_holds_no_basis():
    assert from_moments(ref.gaussian(0, 10, 2)).basis is None


def test_complex_layers_are_rebuilt_from_their_parts():
    for shape in ((30, 4), (8, 20)):
        x = ref.gaussian(0, *shape) + 1j * ref.gaussian(1, *shape)
        layer = from_rows(x)
        rebuilt = (layer.basis * layer.singular_values) @ layer.directions.mH
        np.testing.assert_allclose(rebuilt, ref.centred(x), rtol=0, atol=ref.rounding(30, 10))


def test_a_solver_that_fails_changes_nothing(monkeypatch):
    x = ref.gaussian(0, 40, 5)
    expected = from_rows(x)

    def fail(matrix):
        raise torch.linalg.LinAlgError("failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fail)
    got = from_rows(x)
    np.testing.assert_allclose(got.singular_values, expected.singular_values, rtol=ref.rounding(40, 10))
    np.testing.assert_allclose(got.directions, expected.directions, rtol=0, atol=ref.rounding(40, 100))
