import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from svcca.core.arrays import to_row_pair
from svcca.core.coherence import Coherence
from svcca.core.moments import JointMoments
from svcca.core.qr import qr_coherence
from svcca.core.subspace import Subspace
from svcca.errors import NonFiniteError, RankError
from svcca.measures.cca import CCAResult

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 7)
RHO = np.linspace(0.99, 0.1, 6)
CHUNK = 512  # rows that layers this narrow are folded by


def linear(size, condition=1.0):
    """Allow for the rounding of a solver that squares nothing: linear in the condition number."""
    return ref.rounding(size, condition**0.5)


def by_qr(x, y):
    return qr_coherence(*to_row_pair(x, y))


def ill_conditioned(seed, condition, n_samples=600, mean=0.0):
    """Correlated layers of 8 and 6 units, of spread 1 and a chosen condition number."""
    x, y = ref.planted(seed, n_samples, 8, 6, RHO, condition)
    return x * n_samples**0.5 + mean, y * n_samples**0.5 + mean


def wandering(seed, n_samples, p, q):
    """Related rows whose mean moves with the row, so that every chunk has its own: a wrong fold shows."""
    x, y = ref.related(seed, n_samples, p, q)
    drift = 5 * np.linspace(-1, 2, n_samples)[:, None]
    return x + drift, y - drift**2


# ---------------------------------------------------------------------------------------------------------------------
# Accuracy
# ---------------------------------------------------------------------------------------------------------------------


# Literal, as promised to users: the error is 0.05 to 0.3 eps times the condition number, and a few eps at least.
@pytest.mark.parametrize(("condition", "atol"), [(1e1, 1e-14), (1e3, 1e-12), (1e5, 1e-11), (1e7, 1e-9)])
@pytest.mark.parametrize("n_samples", [300, 600, 3000])  # of one, two and six chunks
def test_correlations_of_ill_conditioned_layers_are_those_of_a_qr_in_one_piece(condition, atol, n_samples):
    for seed in range(5):
        x, y = ill_conditioned(seed, condition, n_samples)
        pair = by_qr(x, y)
        assert (pair.x.rank, pair.y.rank) == (8, 6)
        np.testing.assert_allclose(pair.correlations, ref.correlations(x, y), rtol=0, atol=atol)


@pytest.mark.parametrize("n_samples", [300, 600, 3000])
def test_a_mean_much_larger_than_the_spread_costs_an_ill_conditioned_layer_no_digits(n_samples):
    # Rounded at the size of the mean, and not of the spread, these would be in error by 3000 eps 1e5 = 7e-8.
    x, y = ill_conditioned(0, 1e5, n_samples, mean=3000.0)
    got = by_qr(x, y).correlations
    np.testing.assert_allclose(got, ref.correlations(x, y), rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_samples", [500, 2000])
def test_float32_rows_of_mean_3000_and_spread_1_keep_all_digits(n_samples):
    x, y = ref.related(0, n_samples, 4, 3)
    x, y = (3000 + x).astype(np.float32), (y - 3000).astype(np.float32)
    pair = by_qr(x, y)
    np.testing.assert_allclose(pair.correlations, ref.correlations(x, y), rtol=0, atol=linear(4, 10))
    for side, rows in ((pair.x, x), (pair.y, y)):
        wide = rows.astype(np.float64)
        np.testing.assert_allclose(side.mean, wide.mean(axis=0), rtol=linear(1), atol=0)
        assert side.total_variance == pytest.approx(np.square(ref.centred(wide)).sum(), rel=linear(n_samples))


@pytest.mark.parametrize("first_row", [1e6, 0.0])
@pytest.mark.parametrize("n_samples", [200, 1100])
def test_a_first_row_far_from_the_others_costs_only_what_it_adds_to_the_spread(first_row, n_samples):
    x, y = ref.related(0, n_samples, 4, 3)
    x[0], y[0] = first_row, first_row
    atol = linear(7, max(np.linalg.cond(ref.centred(z)) for z in (x, y)))
    np.testing.assert_allclose(by_qr(x, y).correlations, ref.correlations(x, y), rtol=0, atol=atol)


@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize("scales", [(1, 1e-10), (1e-10, 1)])
def test_units_of_very_different_scale_cost_no_digits(side, scales):
    # A scale of each unit is part of the condition number, 1e10 here, but not of the difficulty: an SVD of y's block
    # of R without the QR step, whose error knows the largest singular value alone, errs by 1e-8.
    x, y = ref.related(0, 300, 3, 12)
    layers = {"x": x, "y": y}
    layers[side] = layers[side] * np.geomspace(*scales, layers[side].shape[1])
    np.testing.assert_allclose(by_qr(**layers).correlations, ref.correlations(x, y), rtol=0, atol=linear(9, 10))


def test_directions_are_resolved_that_moments_cannot_tell_from_rounding():
    x, y = ill_conditioned(0, 1e10)
    assert Subspace.from_moments(JointMoments.from_rows(x, y).x).rank < 8
    assert by_qr(x, y).x.rank == 8


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e5])
@given(seed=seeds, p=widths, q=widths)
def test_moments_agree_to_the_accuracy_they_have(condition, seed, p, q):
    x, y = ref.planted(seed, 100, p, q, RHO[: min(p, q)], condition)
    moments = Coherence.from_moments(JointMoments.from_rows(x, y))
    # Squares: theirs is the error, of eps times the condition number squared.
    np.testing.assert_allclose(
        moments.correlations, by_qr(x, y).correlations, rtol=0, atol=16 * ref.EPS * (100 + condition**2)
    )


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e5])
@given(seed=seeds, p=widths, q=widths)
def test_the_gram_matrix_of_few_samples_agrees_to_the_accuracy_it_has(condition, seed, p, q):
    # Few directions of a chosen condition, turned into more units than there are samples.
    x, y = ref.planted(seed, 40, p, q, RHO[: min(p, q)], condition)
    rng = np.random.default_rng(seed)
    x, y = ref.centred(x) @ ref.orthogonal(rng, 50)[:p], ref.centred(y) @ ref.orthogonal(rng, 45)[:q]
    gram, qr = Coherence.from_rows(x, y), by_qr(x, y)
    assert (gram.x.rank, gram.y.rank) == (qr.x.rank, qr.y.rank) == (p, q)
    np.testing.assert_allclose(gram.correlations, qr.correlations, rtol=0, atol=16 * ref.EPS * (100 + condition**2))


# ---------------------------------------------------------------------------------------------------------------------
# Chunks
# ---------------------------------------------------------------------------------------------------------------------


def assert_same(x, y):
    """Hold a pair against the oracles."""
    pair = by_qr(x, y)
    assert pair.n_samples == len(x)
    atol = linear(len(x), 100)  # these layers have condition numbers of 10 to 100
    np.testing.assert_allclose(pair.correlations, ref.correlations(x, y), rtol=0, atol=atol)
    for side, rows in ((pair.x, x), (pair.y, y)):
        np.testing.assert_allclose(side.mean, rows.mean(axis=0), rtol=0, atol=linear(len(x)) * np.abs(rows).max())
        singular_values = ref.basis(rows)[1]
        np.testing.assert_allclose(side.singular_values, singular_values, atol=linear(len(x)) * singular_values[0])


@given(seed=seeds, p=widths, q=widths, n_samples=st.integers(20, 3 * CHUNK))
def test_the_number_of_rows_makes_no_difference(seed, p, q, n_samples):
    assert_same(*wandering(seed, n_samples, p, q))


@pytest.mark.parametrize("n_samples", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 4 * CHUNK - 1])
def test_a_last_chunk_of_any_size_counts_as_any_other(n_samples):
    assert_same(*wandering(0, n_samples, 3, 4))


@pytest.mark.parametrize(("n_units", "chunk"), [(7, CHUNK), (200, 4 * 401)])
def test_no_more_than_a_chunk_of_rows_is_factorised_at_a_time(monkeypatch, n_units, chunk):
    heights, original = [], torch.linalg.qr

    def watched(matrix, **options):
        heights.append(len(matrix))
        return original(matrix, **options)

    monkeypatch.setattr(torch.linalg, "qr", watched)
    by_qr(ref.gaussian(0, 5000, n_units), ref.gaussian(1, 5000, n_units))
    assert max(heights) == chunk + 2 * n_units + 1


@pytest.mark.parametrize("n_samples", [30, 600])
def test_the_rows_are_left_as_they_were(n_samples):
    rows = [torch.from_numpy(z) for z in wandering(0, n_samples, 2, 3)]
    before = [side.clone() for side in rows]
    by_qr(*rows)
    assert all(torch.equal(p, q) for p, q in zip(before, rows, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# What comes out
# ---------------------------------------------------------------------------------------------------------------------


@given(seed=seeds, p=widths, q=widths)
def test_the_subspaces_are_those_of_the_rows(seed, p, q):
    x, y = ref.related(seed, 60, p, q)
    pair, rows = by_qr(x, y), Coherence.from_rows(x, y)
    for got, expected, z in ((pair.x, rows.x, x), (pair.y, rows.y, y)):
        assert got.basis is None
        assert (got.n_samples, got.n_features, got.rank) == (60, expected.n_features, expected.rank)
        assert got.total_variance == pytest.approx(expected.total_variance, rel=linear(60))
        # Reconstructed: directions of equal singular values may turn.
        scatter = (got.directions * got.singular_values**2) @ got.directions.mH
        centred = ref.centred(z)
        np.testing.assert_allclose(scatter, centred.T @ centred, rtol=0, atol=linear(60) * expected.total_variance)
        assert (torch.take_along_dim(got.directions, got.directions.abs().argmax(0, keepdim=True), 0) > 0).all()


@given(seed=seeds, p=widths, q=widths)
def test_the_matrix_belongs_to_the_directions_of_the_subspaces(seed, p, q):
    x, y = ref.related(seed, 60, p, q)
    pair = by_qr(x, y)
    u_x, u_y = (ref.centred(z) @ side.whitener.numpy() for z, side in ((x, pair.x), (y, pair.y)))
    np.testing.assert_allclose(pair.matrix, u_x.T @ u_y, rtol=0, atol=linear(60, 100))


@pytest.mark.parametrize("condition", [3, 1e6])
def test_canonical_directions_give_uncorrelated_variates_of_unit_variance(condition):
    x, y = ill_conditioned(0, condition)
    result = CCAResult.from_coherence(by_qr(x, y))
    h_x, h_y = (x - result.x_mean) @ result.x_directions, (y - result.y_mean) @ result.y_directions
    # The products with directions as long as the condition number cancel to length 1.
    joint, atol = np.cov(h_x, h_y, rowvar=False), linear(8, condition)
    np.testing.assert_allclose(joint[:6, :6], np.eye(6), rtol=0, atol=atol)
    np.testing.assert_allclose(joint[6:, 6:], np.eye(6), rtol=0, atol=atol)
    np.testing.assert_allclose(joint[:6, 6:], np.diag(result.correlations), rtol=0, atol=atol)
    np.testing.assert_allclose(result.correlations, ref.correlations(x, y), rtol=0, atol=atol)


@pytest.mark.parametrize("n_samples", [50, 1100])
def test_complex_layers_have_real_correlations(n_samples):
    x = ref.gaussian(0, n_samples, 3) + 1j * ref.gaussian(1, n_samples, 3) + (2 - 3j)
    y = ref.gaussian(2, n_samples, 2) + 1j * ref.gaussian(3, n_samples, 2) + (1 + 2j) * x[:, :2]
    pair = by_qr(x, y)
    assert pair.correlations.dtype == pair.x.singular_values.dtype == torch.float64
    np.testing.assert_allclose(pair.correlations, ref.correlations(x, y), rtol=0, atol=linear(n_samples, 5))
    np.testing.assert_allclose(pair.x.mean, x.mean(axis=0), rtol=0, atol=linear(n_samples))
    u_x, u_y = (ref.centred(z) @ side.whitener.numpy() for z, side in ((x, pair.x), (y, pair.y)))
    np.testing.assert_allclose(pair.matrix, u_x.conj().T @ u_y, rtol=0, atol=linear(n_samples, 5))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_real_layer_pairs_with_a_complex_one(swapped):
    x = ref.gaussian(0, 50, 3)
    y = ref.gaussian(2, 50, 2) + 1j * ref.gaussian(3, 50, 2) + (1 + 2j) * x[:, :2]
    if swapped:
        x, y = y, x
    np.testing.assert_allclose(by_qr(x, y).correlations, ref.correlations(x, y), rtol=0, atol=linear(50, 5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_input_is_taken_at_its_own_values(dtype):
    x, y = (torch.from_numpy(z).to(dtype) for z in ref.related(0, 60, 3, 2))
    pair = by_qr(x, y)
    assert pair.matrix.dtype == pair.x.directions.dtype == torch.float64
    expected = ref.correlations(x.double().numpy(), y.double().numpy())
    np.testing.assert_allclose(pair.correlations, expected, rtol=0, atol=linear(60, 10))


# ---------------------------------------------------------------------------------------------------------------------
# Rank
# ---------------------------------------------------------------------------------------------------------------------


def test_layers_wider_than_the_samples_have_the_rank_of_the_samples():
    pair = by_qr(ref.gaussian(0, 6, 9), ref.gaussian(1, 6, 20))
    assert (pair.x.rank, pair.y.rank) == (5, 5)
    np.testing.assert_allclose(pair.correlations, np.ones(5), rtol=0, atol=linear(20))


@pytest.mark.parametrize(("p", "q"), [(9, 2), (2, 9), (9, 9)])
def test_two_samples_have_one_direction(p, q):
    pair = by_qr(ref.gaussian(0, 2, p), ref.gaussian(1, 2, q))
    assert (pair.x.rank, pair.y.rank) == (1, 1)
    np.testing.assert_allclose(pair.correlations, [1.0], rtol=0, atol=linear(9))


def test_wide_layers_of_few_directions_keep_just_these():
    latent_x, latent_y = ref.related(0, 40, 4, 3)
    x, y = latent_x @ ref.gaussian(1, 4, 70), latent_y @ ref.gaussian(2, 3, 50)
    pair = by_qr(x, y)
    assert (pair.x.rank, pair.y.rank) == (4, 3)
    expected = ref.deficient_correlations(x, y, 4, 3)
    np.testing.assert_allclose(pair.correlations, expected, rtol=0, atol=linear(70, 10))


@pytest.mark.parametrize("n_samples", [100, 2000, 30000])
def test_the_noise_of_many_chunks_is_not_taken_for_a_direction(n_samples):
    # 1 direction in 2 units and 2 in 4, in up to 59 chunks, whose noise is up to 3 eps.
    for seed in range(8):
        x = ref.gaussian(seed, n_samples, 1) @ ref.gaussian(seed + 1, 1, 2)
        y = ref.gaussian(seed + 2, n_samples, 2) @ ref.gaussian(seed + 3, 2, 4)
        pair = by_qr(x, y)
        assert (pair.x.rank, pair.y.rank) == (1, 2)


@pytest.mark.parametrize("n_samples", [300, 1100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("side", ["x", "y"])
def test_constant_duplicated_and_zero_units_change_nothing(n_samples, dtype, side):
    layers = {name: z.astype(dtype) for name, z in zip("xy", ref.related(0, n_samples, 4, 3), strict=True)}
    plain = layers[side]
    useless = [np.full((n_samples, 1), value, dtype=dtype) for value in (0.1, 3000.1, 0.0, -1e5)]
    more = np.concatenate([useless[0], plain[:, :1], useless[1], plain, 2 * plain[:, 1:2], *useless[2:]], axis=1)
    expected = ref.correlations(layers["x"], layers["y"])
    pair = by_qr(**{**layers, side: more})
    assert (pair.x.rank, pair.y.rank) == (4, 3)
    np.testing.assert_allclose(pair.correlations, expected, rtol=0, atol=linear(20, 10))


@pytest.mark.parametrize("side", ["x", "y"])
def test_each_side_is_cut_at_the_precision_it_came_in(side):
    # One unit repeats another up to 1e-8: rounding noise for float32 rows, a direction for float64 ones.
    layers = {name: ref.gaussian(seed, 300, 2) for seed, name in enumerate("xy")}
    for z in layers.values():
        z[:, 1] = z[:, 0] + 1e-8 * z[:, 1]
    layers[side] = layers[side].astype(np.float32)
    pair = by_qr(**layers)
    assert {"x": pair.x.rank, "y": pair.y.rank} == {"x": 2, "y": 2, side: 1}


def test_a_unit_repeated_at_a_large_offset_is_no_direction_of_its_own():
    # In float32, 3000 + a holds a to 1e-4 only.
    x, y = (z.astype(np.float32) for z in ref.related(0, 300, 1, 2))
    pair = by_qr(np.concatenate([x, 3000 + x], axis=1), y)
    assert pair.x.rank == 1


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1e8, 1e100])
def test_rank_and_correlations_do_not_know_the_scale(scale):
    x, y = ref.related(0, 60, 4, 3)
    x = np.concatenate([x, x[:, :1]], axis=1)
    pair = by_qr(x * scale, y)
    assert pair.x.rank == 4
    np.testing.assert_allclose(pair.correlations, ref.correlations(x[:, :4], y), rtol=0, atol=linear(60, 10))


# ---------------------------------------------------------------------------------------------------------------------
# Refusals
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constant", [0.0, 0.1, 3000.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("side", ["x", "y"])
def test_a_constant_layer_is_refused_in_the_words_of_the_other_solvers(constant, dtype, side):
    layers = {"x": ref.gaussian(0, 30, 3), "y": ref.gaussian(1, 30, 3)} | {side: np.full((30, 3), constant, dtype)}
    with pytest.raises(RankError, match=rf"^{side}: expected activations that vary.*rank 0 over 30 samples") as ours:
        by_qr(**layers)
    with pytest.raises(RankError) as theirs:
        Coherence.from_rows(layers["x"], layers["y"])
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("side", ["x", "y"])
def test_a_variance_beyond_float64_is_an_error(side):
    layers = {"x": ref.gaussian(0, 30, 3), "y": ref.gaussian(1, 30, 3)}
    layers[side] = layers[side] * 1e200
    with pytest.raises(NonFiniteError, match=rf"^{side}: expected squares within float64; got an overflow"):
        by_qr(**layers)
